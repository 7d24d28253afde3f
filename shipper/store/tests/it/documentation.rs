//! The queries in `docs/search.md` parse, and display as they are written.

use store::{FieldType, Filter, NamedFields};

const DOCUMENT: &str = include_str!("../../../../docs/search.md");

#[test]
fn every_documented_query_parses() {
    let table = DOCUMENT.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let rows: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 10, "the table is there");
    for row in rows {
        for query in row.split('`').skip(1).step_by(2) {
            let filter: Filter = query.parse().unwrap_or_else(|error| panic!("{query}: {error}"));
            assert_eq!(filter.to_string().parse(), Ok(filter), "{query}");
        }
    }
    for refused in ["pay*", "a colour:red"] {
        assert!(DOCUMENT.contains(refused) && refused.parse::<Filter>().is_err(), "{refused}");
    }
}

#[test]
fn every_documented_query_of_a_user_named_field_parses() {
    let (_, section) = DOCUMENT.split_once("\n## User-defined fields\n").unwrap();
    let rows: Vec<_> = section.lines().skip_while(|line| !line.starts_with("| ---")).skip(1).collect();
    let rows: Vec<_> = rows.into_iter().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), FieldType::ALL.len());
    for row in rows {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let kind: FieldType = cells.next().unwrap().trim_matches('`').parse().unwrap();
        for query in cells.nth(1).unwrap().split('`').skip(1).step_by(2) {
            let name = query.split(':').next().unwrap().to_owned();
            let fields = NamedFields::new([(name, kind)]).unwrap();
            let filter = Filter::parse(query, &fields).unwrap_or_else(|error| panic!("{query}: {error}"));
            assert_eq!(Filter::parse(&filter.to_string(), &fields), Ok(filter), "{query}");
        }
    }
}

#[test]
fn every_field_is_documented() {
    for name in store::Field::ALL
        .map(store::Field::name)
        .into_iter()
        .chain(store::NumberField::ALL.map(store::NumberField::name))
    {
        assert!(DOCUMENT.contains(&format!("`{name}`")), "{name}");
    }
}
