//! How large a schema is once every `$ref` is followed.
//!
//! A pack wrote it, and arguments are checked by a library that follows each `$ref` each time: twenty
//! definitions that refer to the next one twice are a million places, and the broker would be busy
//! with nothing else for as long as that takes.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Places of a schema, each as often as it is looked at for one value.
const MAX_PLACES: u64 = 50_000;
/// Schemas within schemas, by `$ref` as well.
const MAX_DEPTH: usize = 128;

/// Keywords whose schemas are of the same value again.
const IN_PLACE: [&str; 9] = [
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "dependentSchemas",
    "dependencies",
];
/// Keywords that name schemas freely: a name is no keyword.
const NAMED: [&str; 4] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
];
/// Keywords that are no schemas of anything, or only where a `$ref` leads to them.
const IDLE: [&str; 6] = [
    "$defs",
    "definitions",
    "const",
    "enum",
    "default",
    "examples",
];

/// Refuses a schema that is small as text and large to whoever follows it.
///
/// # Errors
/// Why it is refused.
pub(super) fn check(schema: &Value) -> Result<(), String> {
    let mut walk = Walk {
        root: schema,
        known: HashMap::new(),
        under_way: HashMap::new(),
        parts: 0,
    };
    walk.schema(schema, 0).map(drop)
}

/// How large a schema is, and how deep.
#[derive(Clone, Copy)]
struct Size {
    places: u64,
    depth: usize,
}

struct Walk<'a> {
    root: &'a Value,
    /// By where they lie in memory: each is measured once.
    known: HashMap<*const Value, Size>,
    /// Those above the present one, with how many parts of a value lay above them.
    under_way: HashMap<*const Value, usize>,
    parts: usize,
}

impl<'a> Walk<'a> {
    fn schema(&mut self, schema: &'a Value, above: usize) -> Result<Size, String> {
        let Value::Object(keywords) = schema else {
            return Ok(Size {
                places: 1,
                depth: 1,
            });
        };
        let place: *const Value = schema;
        if let Some(parts) = self.under_way.get(&place) {
            if *parts == self.parts {
                return Err("it refers to itself without getting any further".to_owned());
            }
            return Ok(Size {
                places: 1,
                depth: 1,
            });
        }
        let size = match self.known.get(&place) {
            Some(size) => *size,
            None => {
                if above >= MAX_DEPTH {
                    return Err(too_deep());
                }
                self.under_way.insert(place, self.parts);
                let size = self.keywords(keywords, above + 1);
                self.under_way.remove(&place);
                let size = size?;
                self.known.insert(place, size);
                size
            }
        };
        if above + size.depth > MAX_DEPTH {
            return Err(too_deep());
        }
        Ok(size)
    }

    fn keywords(&mut self, keywords: &'a Map<String, Value>, above: usize) -> Result<Size, String> {
        let mut size = Size {
            places: 1,
            depth: 0,
        };
        for (keyword, value) in keywords {
            let keyword = keyword.as_str();
            if IDLE.contains(&keyword) {
                continue;
            }
            if let Value::String(text) = value {
                if let Some(target) = self.target(keyword, text, above)? {
                    size.take(self.schema(target, above)?)?;
                }
                continue;
            }
            let parts = usize::from(!IN_PLACE.contains(&keyword));
            self.parts += parts;
            for schema in schemas(keyword, value) {
                size.take(self.schema(schema, above)?)?;
            }
            self.parts -= parts;
        }
        size.depth += 1;
        Ok(size)
    }

    /// Where a keyword refers to, as the library would find it: what is read here in another way than there
    /// would be measured wrongly, and so it is refused.
    fn target(&self, keyword: &str, text: &str, above: usize) -> Result<Option<&'a Value>, String> {
        match keyword {
            "$ref" => {
                let pointer = text.strip_prefix('#').filter(|pointer| {
                    (pointer.is_empty() || pointer.starts_with('/')) && !pointer.contains('%')
                });
                let pointer = pointer.ok_or("`$ref` takes a pointer, such as `#/$defs/name`")?;
                // One that leads nowhere is told by the library.
                Ok(self.root.pointer(pointer))
            }
            "$dynamicRef" | "$recursiveRef" => Err(format!("`{keyword}` is not taken; use `$ref`")),
            "$id" | "id" if above > 1 => Err(format!(
                "`{keyword}` inside of the schema is not taken, leave it out"
            )),
            _ => Ok(None),
        }
    }
}

impl Size {
    fn take(&mut self, other: Self) -> Result<(), String> {
        self.places = self.places.saturating_add(other.places);
        self.depth = self.depth.max(other.depth);
        if self.places > MAX_PLACES {
            return Err(format!(
                "once each `$ref` is followed it has more than {MAX_PLACES} places"
            ));
        }
        Ok(())
    }
}

fn too_deep() -> String {
    format!("more than {MAX_DEPTH} schemas lie within each other, or refer to each other")
}

/// The schemas that are the value of a keyword.
fn schemas<'a>(keyword: &str, value: &'a Value) -> Box<dyn Iterator<Item = &'a Value> + 'a> {
    match value {
        Value::Array(all) => Box::new(all.iter()),
        Value::Object(all) if NAMED.contains(&keyword) => Box::new(all.values()),
        other => Box::new(std::iter::once(other)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `links` definitions, each of which refers so often to the next one.
    fn chain(links: usize, times: usize) -> Value {
        let mut all = Map::new();
        for link in 0..links {
            let next = json!({"$ref": format!("#/$defs/d{}", link + 1)});
            all.insert(format!("d{link}"), json!({"allOf": vec![next; times]}));
        }
        all.insert(format!("d{links}"), json!({"type": "object"}));
        json!({"$defs": all, "$ref": "#/$defs/d0"})
    }

    #[test]
    fn a_schema_that_grows_without_end_is_refused_and_ordinary_ones_are_not() {
        let tree = json!({
            "$id": "https://example.test/tree", "type": "object", "required": ["left"],
            "properties": {
                "left": {"$ref": "#"}, "right": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
                "$ref": {"type": "string"}, "not": {"type": "string"}, "$id": {"type": "string"},
            },
            "enum": [{"$ref": "elsewhere"}],
        });
        for fine in [tree, json!(true), chain(10, 2), chain(MAX_DEPTH / 2 - 2, 1)] {
            check(&fine).unwrap();
        }
        let around = json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}},
                            "properties": {"x": {"$ref": "#/$defs/a"}}});
        for (bad, why) in [
            (chain(16, 2), "places"),
            (chain(6, 10), "places"),
            (chain(100_000, 1), "within each other"),
            (json!({"$ref": "#"}), "itself"),
            (around, "itself"),
            (json!({"$ref": "#name"}), "pointer"),
            (json!({"$ref": "#/%24defs/a"}), "pointer"),
            (json!({"$ref": "https://example.test/#/a"}), "pointer"),
            (json!({"$dynamicRef": "#"}), "not taken"),
            (json!({"items": {"$id": "x", "$ref": "#/a"}}), "not taken"),
        ] {
            let message = check(&bad).unwrap_err();
            assert!(message.contains(why), "{message}");
        }
    }
}
