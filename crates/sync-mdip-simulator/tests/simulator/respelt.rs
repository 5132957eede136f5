//! The same operations in other bytes.

use sync_mdip::{canonicalize, to_operation};
use sync_mdip_simulator::{Change, Config, Log, generate, respell};

#[test]
fn a_respelt_value_has_other_bytes_and_the_same_canonical_form() {
    let table = [
        r#"{"b":[1,{"d":"é😀\u0000\"","c":-0.0}],"a":1e21,"10":5e-324,"1":333333333.33333329}"#,
        r#"{"lone":"\ud800x","\udc00":true,"twice":1,"twice":2,"":null}"#,
        "[1.7976931348623157e308,9007199254740993,0.1,-1e-7,123456789012345680000]",
    ];
    let mut random = fastrand::Rng::with_seed(1);
    for json in table {
        let canonical = canonicalize(json.as_bytes()).unwrap();
        for _ in 0..100 {
            let respelt = respell(json, &mut random).unwrap();
            assert_ne!(respelt.as_bytes(), canonical);
            assert_eq!(
                canonicalize(respelt.as_bytes()).unwrap(),
                canonical,
                "{respelt}"
            );
        }
    }
    assert!(respell("{", &mut random).is_err());
    assert!(respell("1e400", &mut random).is_err());
}

#[test]
fn a_respelt_log_holds_the_same_operations_in_other_bytes() {
    let log = Log::from_rows(generate(Config::new(31, 1000))).unwrap();
    let mut other = log.clone();
    other.snapshot_at(500);
    other.respell(1).unwrap();
    other.snapshot_now();
    let mut operations = 0;
    for (row, respelt) in log.rows().iter().zip(other.rows()) {
        match (&row.change, &respelt.change) {
            (
                Change::Accepted { did, event },
                Change::Accepted {
                    did: same,
                    event: respelt,
                },
            ) => {
                assert_eq!(did, same);
                assert_ne!(event.operation(), respelt.operation());
                let read = |json: &str| to_operation(json.as_bytes(), None).unwrap();
                assert_eq!(read(event.operation()), read(respelt.operation()));
                assert_eq!(log.history(did).len(), other.history(did).len());
                operations += 1;
            }
            (change, same) => assert_eq!(change, same),
        }
    }
    assert_eq!(operations, 1000);
}
