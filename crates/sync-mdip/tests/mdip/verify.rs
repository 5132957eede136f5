use k256::ecdsa::Signature;
use serde_json::{Value, json};
use sync_mdip::{Invalid, PublicKey, Record, Verified, to_operation};

use crate::generate;

fn random() -> fastrand::Rng {
    fastrand::Rng::with_seed(7)
}

fn agent() -> Value {
    serde_json::from_str(&generate::agent(
        &generate::key(&mut random()),
        "hyperswarm",
    ))
    .unwrap()
}

fn verify(operation: &Value) -> Result<Verified, Invalid> {
    Record::parse(operation.to_string().as_bytes())
        .unwrap()
        .verify()
}

fn public_key(jwk: &Value) -> Result<PublicKey, Invalid> {
    PublicKey::from_jwk(jwk.to_string().as_bytes())
}

#[test]
fn an_agents_create_verifies_by_the_key_it_carries() {
    assert_eq!(verify(&agent()), Ok(Verified::Signature));
}

#[test]
fn no_byte_of_the_content_can_change() {
    let agent = agent();
    let payload = Record::parse(agent.to_string().as_bytes())
        .unwrap()
        .payload()
        .to_vec();
    assert!(to_operation(&payload, None).is_ok());
    let text = std::str::from_utf8(&payload).unwrap();
    let signature = text.find("\"signature\":").unwrap();
    let after = signature + text[signature..].find('}').unwrap();
    for at in (0..signature).chain(after..payload.len()) {
        let mut changed = payload.clone();
        changed[at] ^= 1;
        assert!(to_operation(&changed, None).is_err(), "byte {at}");
    }
}

#[test]
fn a_member_added_or_left_out_changes_the_hash() {
    let mut added = agent();
    added["extra"] = Value::Null;
    assert_eq!(verify(&added), Err(Invalid::HashMismatch));
    let mut gone = agent();
    gone.as_object_mut().unwrap().remove("created");
    assert_eq!(verify(&gone), Err(Invalid::HashMismatch));
}

#[test]
fn no_digit_of_the_signature_can_change() {
    let agent = agent();
    let value = agent["signature"]["value"].as_str().unwrap();
    for at in 0..value.len() {
        let mut digits = value.as_bytes().to_vec();
        digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
        let mut changed = agent.clone();
        changed["signature"]["value"] = String::from_utf8(digits).unwrap().into();
        assert!(verify(&changed).is_err(), "digit {at}");
    }
}

#[test]
fn the_second_form_of_a_signature_is_refused() {
    let mut agent = agent();
    let low = hex::decode(agent["signature"]["value"].as_str().unwrap()).unwrap();
    let (r, s) = Signature::from_slice(&low).unwrap().split_scalars();
    let high = Signature::from_scalars(r, -s).unwrap();
    agent["signature"]["value"] = hex::encode(high.to_bytes()).into();
    assert_eq!(verify(&agent), Err(Invalid::HighS));
}

#[test]
fn what_is_no_signature_is_refused() {
    let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let one = format!("{:064x}", 1);
    let zero = "0".repeat(64);
    for value in [
        json!(null),
        json!(1),
        json!(""),
        json!("ab"),
        json!("zz".repeat(64)),
        json!("ab".repeat(65)),
        json!(format!("{zero}{one}")),
        json!(format!("{one}{zero}")),
        json!(format!("{order}{one}")),
        json!(format!("{one}{order}")),
    ] {
        let mut agent = agent();
        agent["signature"]["value"] = value.clone();
        assert_eq!(verify(&agent), Err(Invalid::SignatureValue), "{value}");
    }
    let mut agent = agent();
    agent["signature"]["value"] = format!("{one}{one}").into();
    assert_eq!(verify(&agent), Err(Invalid::SignatureMismatch));
}

#[test]
fn the_signature_is_read_in_either_case() {
    let mut agent = agent();
    for name in ["hash", "value"] {
        let upper = agent["signature"][name].as_str().unwrap().to_uppercase();
        agent["signature"][name] = upper.into();
    }
    assert_eq!(verify(&agent), Ok(Verified::Signature));
}

#[test]
fn another_key_does_not_verify() {
    let mut random = random();
    let key = generate::key(&mut random);
    let other = generate::key(&mut random);
    let record = Record::parse(generate::agent(&key, "hyperswarm").as_bytes()).unwrap();
    assert_eq!(
        record.verify_with(&public_key(&generate::jwk(&key)).unwrap()),
        Ok(())
    );
    assert_eq!(
        record.verify_with(&public_key(&generate::jwk(&other)).unwrap()),
        Err(Invalid::SignatureMismatch)
    );
    // A create that carries a key which is not the one that signed it.
    let content = generate::agent_content(&key, "hyperswarm");
    let forged = generate::sign(&content, &other, "2024-06-01", None);
    assert_eq!(
        Record::parse(forged.as_bytes()).unwrap().verify(),
        Err(Invalid::SignatureMismatch)
    );
}

#[test]
fn the_signature_of_an_operation_without_its_key_is_left_to_the_caller() {
    let key = generate::key(&mut random());
    let public = public_key(&generate::jwk(&key)).unwrap();
    for content in [
        json!({ "type": "create", "mdip": { "type": "asset" }, "publicJwk": generate::jwk(&key) }),
        json!({ "type": "update", "did": "did:a:b", "doc": {} }),
        json!({ "type": "delete", "did": "did:a:b" }),
    ] {
        let raw = generate::sign(&content, &key, "2024-06-01", Some("did:a:c"));
        let record = Record::parse(raw.as_bytes()).unwrap();
        assert_eq!(record.verify(), Ok(Verified::Content));
        assert_eq!(record.verify_with(&public), Ok(()));
        assert_eq!(record.public_key(), Ok(None));
        assert_eq!(record.signer(), Some("did:a:c"));
    }
}

#[test]
fn the_right_key_does_not_make_up_for_changed_content() {
    let key = generate::key(&mut random());
    let public = public_key(&generate::jwk(&key)).unwrap();
    let content = json!({ "type": "delete", "did": "did:a:b", "previd": "z1" });
    let raw = generate::sign(&content, &key, "2024-06-01", Some("did:a:b"));
    let changed = Record::parse(raw.replace("z1", "z2").as_bytes()).unwrap();
    assert_eq!(changed.verify_with(&public), Err(Invalid::HashMismatch));
    assert_eq!(changed.verify(), Err(Invalid::HashMismatch));
}

#[test]
fn an_updates_key_is_that_of_its_first_verification_method() {
    let mut random = random();
    let [old, new, third] = std::array::from_fn(|_| generate::key(&mut random));
    let content = json!({ "type": "update", "did": "did:a:b", "doc": { "didDocument": {
        "verificationMethod": [
            { "publicKeyJwk": generate::jwk(&new) },
            { "publicKeyJwk": generate::jwk(&third) },
        ],
    }}});
    let raw = generate::sign(&content, &old, "2024-06-01", None);
    let record = Record::parse(raw.as_bytes()).unwrap();
    assert_eq!(
        record.public_key(),
        Ok(Some(public_key(&generate::jwk(&new)).unwrap()))
    );
    // The key an update brings does not sign it.
    assert_eq!(record.verify(), Ok(Verified::Content));
}

#[test]
fn what_is_no_key_is_refused() {
    let key = generate::jwk(&generate::key(&mut random()));
    assert!(public_key(&key).is_ok());
    let with = |name: &str, value: Value| {
        let mut jwk = key.clone();
        jwk[name] = value;
        public_key(&jwk)
    };
    for (name, value) in [
        ("kty", json!("OKP")),
        ("kty", json!(null)),
        ("crv", json!("P-256")),
        ("x", json!(null)),
        ("x", json!(1)),
        ("x", json!("")),
        ("x", json!("AAAA")),
        ("x", json!("*".repeat(43))),
        ("y", json!(format!("{}=", key["y"].as_str().unwrap()))),
        ("y", json!("A".repeat(44))),
    ] {
        assert_eq!(
            with(name, value.clone()),
            Err(Invalid::KeyFormat),
            "{name}: {value}"
        );
    }
    let zeros = "A".repeat(43);
    let ones = format!("{}8", "_".repeat(42));
    for (name, value) in [("x", &zeros), ("y", &zeros), ("x", &ones), ("y", &ones)] {
        assert_eq!(
            with(name, value.as_str().into()),
            Err(Invalid::KeyPoint),
            "{name}: {value}"
        );
    }
    // The same x with the other y is the other key; with a y of another point it is none.
    let other = generate::jwk(&generate::key(&mut fastrand::Rng::with_seed(8)));
    assert_eq!(with("y", other["y"].clone()), Err(Invalid::KeyPoint));
    assert_eq!(PublicKey::from_jwk(b"[]"), Err(Invalid::KeyFormat));
    assert_eq!(
        PublicKey::from_jwk(b"{").unwrap_err().code(),
        "json_truncated"
    );
}

#[test]
fn an_agents_create_without_a_usable_key_is_refused() {
    let key = generate::key(&mut random());
    let mut content = generate::agent_content(&key, "hyperswarm");
    content["publicJwk"]["crv"] = "P-256".into();
    let raw = generate::sign(&content, &key, "2024-06-01", None);
    assert_eq!(
        Record::parse(raw.as_bytes()).unwrap().verify(),
        Err(Invalid::KeyFormat)
    );
    content.as_object_mut().unwrap().remove("publicJwk");
    let raw = generate::sign(&content, &key, "2024-06-01", None);
    assert_eq!(
        Record::parse(raw.as_bytes()).unwrap().verify(),
        Err(Invalid::KeyFormat)
    );
}
