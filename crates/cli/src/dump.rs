//! Maps as text, in the manner of `bpftool map dump`, or as JSON.

use std::fmt::Write;

use anyhow::{Context, Result, anyhow};
use hitless::{Collection, Map};
use hitless_btf::value::Value;
use hitless_btf::{Btf, TypeId};
use serde::Serialize;
use serde_json::value::RawValue;

/// The content of a map.
pub(crate) struct Dump {
    name: String,
    kind: String,
    max_entries: u32,
    elements: Vec<(Value, Value)>,
}

/// A map, for JSON.
#[derive(Serialize)]
pub(crate) struct JsonMap {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    max_entries: u32,
    elements: Vec<JsonElement>,
}

#[derive(Serialize)]
struct JsonElement {
    key: Box<RawValue>,
    value: Box<RawValue>,
}

/// The maps with these names, or all maps if there are none.
pub(crate) fn maps(collection: &Collection, names: &[String]) -> Result<Vec<Dump>> {
    if names.is_empty() {
        return collection.maps().iter().map(|map| dump(map)).collect();
    }
    let find = |name: &String| {
        let known = || {
            collection
                .maps()
                .iter()
                .map(|map| map.name())
                .collect::<Vec<_>>()
                .join(", ")
        };
        collection
            .map(name)
            .ok_or_else(|| anyhow!("cannot dump map {name}: no such map, expected one of: {}", known()))
    };
    names.iter().map(|name| dump(find(name)?)).collect()
}

/// Elements are sorted by key.
fn dump(map: &Map) -> Result<Dump> {
    let context = || format!("cannot dump map {}", map.name());
    let mut entries = map.entries().with_context(context)?;
    entries.sort();
    let element = |(key, value): &(Vec<u8>, Vec<u8>)| Ok((self::key(map, key)?, self::value(map, value)?));
    Ok(Dump {
        name: map.name().to_owned(),
        kind: format!("{:?}", map.def().kind).to_lowercase(),
        max_entries: map.def().max_entries,
        elements: entries
            .iter()
            .map(element)
            .collect::<Result<_>>()
            .with_context(context)?,
    })
}

/// A key of a map, by its type.
pub(crate) fn key(map: &Map, key: &[u8]) -> Result<Value> {
    match (map.key_type(), key.first_chunk()) {
        // Indices of global data have no type.
        (None, Some(index)) if map.def().global_data => Ok(Value::UInt(u32::from_ne_bytes(*index).into())),
        (key_type, _) => read(map.btf(), key_type, key),
    }
}

/// A value of a map, by its type.
pub(crate) fn value(map: &Map, value: &[u8]) -> Result<Value> {
    read(map.btf(), map.value_type(), value)
}

/// Bytes without a type are shown as such.
fn read(btf: Option<&Btf>, id: Option<TypeId>, bytes: &[u8]) -> Result<Value> {
    match (btf, id) {
        (Some(btf), Some(id)) => Ok(btf.value(id, bytes)?),
        _ => Ok(Value::Bytes(bytes.to_vec())),
    }
}

impl Dump {
    /// The map as text.
    pub(crate) fn text(&self) -> String {
        let mut out = format!(
            "map {}: {}, {} of {} elements\n[",
            self.name,
            self.kind,
            self.elements.len(),
            self.max_entries
        );
        for (index, (key, value)) in self.elements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let (key, value) = (indented(key), indented(value));
            // Writing to a string does not fail.
            let _ = write!(out, "{comma}{{\n    \"key\": {key},\n    \"value\": {value}\n}}");
        }
        out.push_str("]\n");
        out
    }

    /// The map for JSON.
    pub(crate) fn json(&self) -> Result<JsonMap> {
        let element = |(key, value): &(Value, Value)| {
            Ok(JsonElement {
                key: RawValue::from_string(key.to_string())?,
                value: RawValue::from_string(value.to_string())?,
            })
        };
        Ok(JsonMap {
            name: self.name.clone(),
            kind: self.kind.clone(),
            max_entries: self.max_entries,
            elements: self.elements.iter().map(element).collect::<Result<_>>()?,
        })
    }
}

fn indented(value: &Value) -> String {
    format!("{value:#}").replace('\n', "\n    ")
}
