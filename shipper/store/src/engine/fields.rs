//! User-named fields on an engine: in the template, in the pipeline, and as found in existing indices.
//!
//! Template and mappings list them under `_meta`, so that readers of an index know which fields they can use. A
//! template applies to new indices only: a newly named field is searchable in indices created afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use elasticsearch::http::Method;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::engine::Engine;
use crate::engine::client::Response;
use crate::engine::mark::is_marked;
use crate::error::SearchError;
use crate::query::named::is_below;
use crate::query::{FieldType, NamedField, NamedFields};

/// Time for which the fields of an engine are cached.
const CACHE_TTL: Duration = Duration::from_secs(10);

/// Date format: a day, or RFC 3339 in capital letters with up to nine digits. It is narrower than the engines' default,
/// so that dates are read in the same way everywhere.
const DATE_FORMAT: &str =
    "uuuu-MM-dd['T'HH:mm:ss[.SSSSSSSSS][.SSSSSSSS][.SSSSSSS][.SSSSSS][.SSSSS][.SSSS][.SSS][.SS][.S]XXX]";

/// Maximum number of names in the pipeline's script; the oldest are dropped first.
const SCRIPT_NAMES_MAX: usize = 256;

/// Cached fields of an engine, with the time they were read.
pub(super) type FieldCache = Arc<Mutex<Option<(Instant, NamedFields)>>>;

impl Engine {
    /// Returns the user-named fields of the template and of the newest index, as far as the credentials allow reading
    /// them. Results are cached for some seconds.
    pub(crate) async fn fields(&self) -> Result<NamedFields, SearchError> {
        let known = self.field_cache.lock().clone();
        if let Some((_, fields)) = known.filter(|(since, _)| since.elapsed() < CACHE_TTL) {
            return Ok(fields);
        }
        let indices = self.meta(&format!("{}/_mapping", self.indices()), "*.mappings._meta").await?;
        let path = format!("_index_template/{}", self.settings.index_prefix);
        let template = self.meta(&path, "index_templates.index_template._meta").await?;
        let template = from_meta(&template["index_templates"][0]["index_template"]["_meta"]);
        let by_index: BTreeMap<_, _> = indices
            .as_object()
            .into_iter()
            .flatten()
            .map(|(index, mappings)| (index.clone(), from_meta(&mappings["mappings"]["_meta"])))
            .collect();
        let fields = combine(template, &by_index);
        *self.field_cache.lock() = Some((Instant::now(), fields.clone()));
        Ok(fields)
    }

    /// Reads `_meta`. Returns null if it does not exist or the credentials do not allow reading it.
    async fn meta(&self, path: &str, filter: &str) -> Result<Value, SearchError> {
        let parameters = [("filter_path", filter)];
        match self.client.send(Method::Get, path, "application/json", &parameters, None).await {
            Ok(response) if response.status == 200 => Ok(response.json()),
            Ok(Response { status: 403 | 404, .. }) => Ok(Value::Null),
            Ok(response) if response.is_transient() => Err(SearchError::Unavailable(response.cause())),
            Ok(response) => Err(SearchError::Refused(response.cause())),
            Err(error) => Err(SearchError::Unavailable(error.into_cause())),
        }
    }
}

/// Combines the fields of the template and of the newest index; the template takes precedence. If other indices have a
/// field with another type, the field lists the indices where it has its own.
fn combine(template: NamedFields, by_index: &BTreeMap<String, NamedFields>) -> NamedFields {
    let newest = by_index.last_key_value().map(|(_, fields)| fields.clone()).unwrap_or_default();
    let mut all: Vec<_> = pairs(&template).collect();
    all.extend(pairs(&newest).filter(|(name, _)| template.get(name).is_none()));
    // Together they may be too many, or nested in each other; then use the template's only.
    let fields = NamedFields::new(all).unwrap_or(template);
    let lookup = |own: &NamedFields, field: &NamedField| {
        let existing = own.get(field.name());
        (existing.is_some(), existing.is_some_and(|existing| existing.kind() == field.kind()))
    };
    fields.only_in(|field| {
        let is_mixed =
            by_index.values().map(|own| lookup(own, field)).any(|(exists, has_same_type)| exists && !has_same_type);
        let same = by_index.iter().filter(|(_, own)| lookup(own, field).1).map(|(index, _)| index.clone());
        is_mixed.then(|| same.collect())
    })
}

fn pairs(fields: &NamedFields) -> impl Iterator<Item = (String, FieldType)> {
    fields.iter().map(|field| (field.name().to_owned(), field.kind()))
}

/// Reads the fields listed in `_meta`; none unless it has this program's mark.
fn from_meta(meta: &Value) -> NamedFields {
    if !is_marked(&json!({ "_meta": meta })) {
        return NamedFields::default();
    }
    let field = |field: &Value| Some((field["name"].as_str()?.to_owned(), field["type"].as_str()?.parse().ok()?));
    let listed = meta["fields"].as_array().into_iter().flatten().filter_map(field);
    NamedFields::new(listed).unwrap_or_default()
}

/// Returns the fields listed in a template or a mapping.
pub(super) fn fields_of(existing: &Value) -> NamedFields {
    from_meta(&existing["_meta"])
}

/// Adds fields to a template without any.
pub(super) fn add_to_template(template: &mut Value, fields: &NamedFields) {
    if fields.is_empty() {
        return;
    }
    let mark = fields.iter().map(|field| json!({ "name": field.name(), "type": field.kind().name() }));
    let mark: Value = mark.collect();
    template["_meta"]["fields"] = mark.clone();
    template["template"]["mappings"]["_meta"]["fields"] = mark;
    let properties = &mut template["template"]["mappings"]["properties"];
    for field in fields.iter() {
        let (outer, leaf) =
            field.name().rsplit_once('.').map_or((None, field.name()), |(outer, leaf)| (Some(outer), leaf));
        let mut at = &mut *properties;
        for part in outer.into_iter().flat_map(|outer| outer.split('.')) {
            let object = &mut at[part];
            if object.is_null() {
                *object = json!({ "dynamic": false, "properties": Map::new() });
            }
            at = &mut object["properties"];
        }
        at[leaf] = mapping(field.kind());
    }
}

/// Returns the mapping of a type, chosen so that no scalar makes an engine reject a line.
fn mapping(kind: FieldType) -> Value {
    match kind {
        FieldType::Text => json!({ "type": "text" }),
        FieldType::Long | FieldType::Double => json!({ "type": kind.name(), "ignore_malformed": true }),
        FieldType::Date => json!({ "type": "date", "format": DATE_FORMAT, "ignore_malformed": true }),
        // OpenSearch 2.19 rejects a line with an invalid boolean.
        FieldType::Keyword | FieldType::Boolean => json!({ "type": "keyword", "ignore_above": 1_024 }),
    }
}

/// Returns the field names in a pipeline's script.
pub(super) fn script_fields(pipeline: &Value) -> Vec<String> {
    let names = pipeline["processors"][0]["script"]["params"]["fields"].as_array().into_iter().flatten();
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Combines the names of fields with those already in the script. Existing indices keep their mapping, and other index
/// prefixes may use the same pipeline, so known names are kept unless they conflict with a field.
pub(super) fn merged_script_fields(fields: Option<&NamedFields>, known: &[String]) -> Vec<String> {
    let Some(fields) = fields else { return known.to_vec() };
    let mut names: Vec<_> = fields.iter().map(|field| field.name().to_owned()).collect();
    let is_free = |name: &str| {
        let meets =
            |field: &NamedField| field.name() == name || is_below(field.name(), name) || is_below(name, field.name());
        !fields.iter().any(meets)
    };
    let old = known.iter().filter(|name| is_free(name)).take(SCRIPT_NAMES_MAX - names.len().min(SCRIPT_NAMES_MAX));
    names.extend(old.cloned());
    names.sort_unstable();
    names
}

/// Sets the field names of the pipeline's script, which moves aside values that do not fit them.
pub(super) fn set_script_fields(pipeline: &mut Value, names: &[String]) {
    if !names.is_empty() {
        pipeline["processors"][0]["script"]["params"] = json!({ "fields": names });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(named: &[(&str, FieldType)]) -> NamedFields {
        NamedFields::new(named.iter().map(|(name, kind)| ((*name).to_owned(), *kind))).unwrap()
    }

    #[test]
    fn a_field_of_two_types_is_limited_to_its_indices() {
        let days = BTreeMap::from([
            ("x-1".to_owned(), fields(&[("a", FieldType::Long), ("b", FieldType::Long)])),
            ("x-2".to_owned(), fields(&[("a", FieldType::Keyword), ("old", FieldType::Text)])),
        ]);
        let known = combine(fields(&[("a", FieldType::Keyword), ("b", FieldType::Long)]), &days);
        assert_eq!(known.to_string(), "a=keyword, b=long, old=text");
        assert_eq!(known.get("a").unwrap().only_in(), Some(&["x-2".to_owned()][..]));
        assert_eq!(known.get("b").unwrap().only_in(), None);
        // If they can't be combined, the template's are used.
        let known = combine(fields(&[("old.a", FieldType::Long)]), &days);
        assert_eq!(known.to_string(), "old.a=long");
    }

    #[test]
    fn a_template_maps_fields_as_nested_objects() {
        let mut template = json!({ "_meta": {}, "template": { "mappings": { "_meta": {}, "properties": {} } } });
        add_to_template(
            &mut template,
            &fields(&[("o.id", FieldType::Long), ("o.x.y", FieldType::Text), ("k", FieldType::Boolean)]),
        );
        let properties = &template["template"]["mappings"]["properties"];
        assert_eq!(properties["o"]["properties"]["id"]["type"], "long");
        assert_eq!(properties["o"]["properties"]["x"]["properties"]["y"]["type"], "text");
        assert_eq!(properties["k"]["type"], "keyword");
        template["_meta"]["managed_by"] = "actix-observability".into();
        assert_eq!(fields_of(&template).to_string(), "k=boolean, o.id=long, o.x.y=text");
    }

    #[test]
    fn the_script_keeps_names_unless_they_conflict() {
        let known = ["a", "b", "c"].map(str::to_owned);
        let now = fields(&[("a.x", FieldType::Long), ("b", FieldType::Text)]);
        assert_eq!(merged_script_fields(Some(&now), &known), ["a.x", "b", "c"]);
        assert_eq!(merged_script_fields(None, &known), known);
        let many: Vec<_> = (0..1_000).map(|number| format!("f{number:03}")).collect();
        assert_eq!(merged_script_fields(Some(&now), &many).len(), SCRIPT_NAMES_MAX);
    }
}
