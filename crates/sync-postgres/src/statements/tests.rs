use std::collections::BTreeSet;

use super::*;

#[test]
fn every_statement_names_its_schema_and_as_many_parameters_as_it_has_types() {
    let statements = Statements::of("my \"own\"'s");
    let mut names = BTreeSet::new();
    for Statement { name, text, types } in statements.all() {
        assert!(names.insert(*name), "{name} twice");
        assert!(!text.contains("{s}") && !text.contains("{l}"), "{text}");
        let schemas = [r#""my ""own""'s"."#, r#"'"my ""own""''s""#];
        let ours = schemas.iter().any(|schema| text.contains(schema));
        assert!(ours || *name == "notify", "{text}");
        let most = (1..20).filter(|n| text.contains(&format!("${n}"))).max();
        assert_eq!(most.unwrap_or(0), types.len(), "{text}");
    }
}
