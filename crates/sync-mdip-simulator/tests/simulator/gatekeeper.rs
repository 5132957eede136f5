//! The server, over HTTP.

use std::time::{Duration, Instant};

use sync_mdip_simulator::{Config, Gatekeeper, Log, Reply, generate};
use ureq::Agent;

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_mins(1)))
        .build();
    Agent::new_with_config(config)
}

fn ask(gatekeeper: &Gatekeeper, request: &str) -> (u16, String) {
    let url = format!("{}/api/v1/index/export", gatekeeper.url());
    let mut response = agent().post(&url).send(request).unwrap();
    let body = response
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_to_string();
    (response.status().as_u16(), body.unwrap())
}

const CHANGES: &str = r#"{"mode":"changes","includeOperations":true,"limit":5000}"#;

#[test]
fn the_server_answers_what_its_log_answers() {
    let log = Log::from_rows(generate(Config::new(21, 2000))).unwrap();
    let gatekeeper = Gatekeeper::start(log.clone()).unwrap();
    for request in [
        CHANGES,
        r#"{"mode":"snapshot"}"#,
        r#"{"mode":"changes","cursor":"99"}"#,
    ] {
        let expected = log.export(request.as_bytes()).unwrap();
        let (status, answer) = ask(&gatekeeper, request);
        assert!(status == 200 && answer == expected, "{request}");
    }
    assert_eq!(gatekeeper.requests(), 3);
    let ready = format!("{}/api/v1/ready", gatekeeper.url());
    let ready = agent()
        .get(&ready)
        .call()
        .unwrap()
        .body_mut()
        .read_to_string();
    assert_eq!(ready.unwrap(), "true");
    let other = format!("{}/api/v1/dids", gatekeeper.url());
    assert_eq!(agent().get(&other).call().unwrap().status().as_u16(), 404);
}

#[test]
fn a_bad_request_gets_400_with_the_reason() {
    let gatekeeper = Gatekeeper::start(Log::new()).unwrap();
    let expected = r#"{"error":"limit must be a positive integer"}"#;
    let answer = ask(&gatekeeper, r#"{"mode":"changes","limit":0}"#);
    assert_eq!(answer, (400, expected.to_owned()));
}

#[test]
fn a_change_of_the_log_shows_in_the_next_answer() {
    let gatekeeper = Gatekeeper::start(Log::new()).unwrap();
    let did = gatekeeper.change(|log| log.create("hyperswarm"));
    assert!(ask(&gatekeeper, CHANGES).1.contains(&did));
    let before = gatekeeper.change(|log| log.epoch().to_owned());
    gatekeeper.change(Log::reset);
    let (_, answer) = ask(&gatekeeper, CHANGES);
    assert!(!answer.contains(&did) && !answer.contains(&before));
}

#[test]
fn the_next_requests_fail_as_often_as_told_and_then_succeed() {
    let gatekeeper = Gatekeeper::start(Log::new()).unwrap();
    gatekeeper.fail_next(2);
    for status in [503, 503, 200] {
        assert_eq!(ask(&gatekeeper, CHANGES).0, status);
    }
    let reply = Reply::new(418, "{}");
    gatekeeper.reply_next(reply);
    assert_eq!(ask(&gatekeeper, CHANGES), (418, "{}".to_owned()));
    assert_eq!(ask(&gatekeeper, CHANGES).0, 200);
    assert_eq!(gatekeeper.requests(), 5);
}

#[test]
fn a_body_over_4_mib_is_refused() {
    let gatekeeper = Gatekeeper::start(Log::new()).unwrap();
    let request = format!(r#"{{"mode":"{}"}}"#, "x".repeat(4 << 20));
    assert_eq!(ask(&gatekeeper, &request).0, 413);
}

#[test]
fn a_delayed_answer_comes_late_and_a_dropped_server_does_not_wait_for_it() {
    let gatekeeper = Gatekeeper::start(Log::new()).unwrap();
    let delay = Duration::from_millis(50);
    gatekeeper.delay(delay);
    let begun = Instant::now();
    assert_eq!(ask(&gatekeeper, CHANGES).0, 200);
    assert!(begun.elapsed() >= delay);

    gatekeeper.delay(Duration::from_hours(1));
    let url = gatekeeper.url().to_owned();
    let client = std::thread::spawn(move || {
        let url = format!("{url}/api/v1/index/export");
        agent().post(&url).send(CHANGES).is_ok()
    });
    while gatekeeper.requests() < 2 {
        std::thread::yield_now();
    }
    // The client's own limit is a minute.
    drop(gatekeeper);
    client.join().unwrap();
}
