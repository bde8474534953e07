//! Holds every frame that a test receives against the official schema of version 4.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Value, json};

use super::schema_table::{ANY, EVENTS, EXTRA, METHODS};

/// The official schema, `tests/data/README.md` says where it comes from.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../../tests/data/protocol-v4-subset.schema.json");
    // Ids of approvals: no text of ours has half a surrogate pair, and this engine knows none.
    let pairs = r"(?:[^\\uD800-\\uDFFF]|[\\uD800-\\uDBFF][\\uDC00-\\uDFFF])+$";
    serde_json::from_str(&text.replace(pairs, ".+$")).unwrap()
});

/// Validators by definition, each compiled when it is first needed.
static VALIDATORS: Mutex<Option<HashMap<String, &'static Validator>>> = Mutex::new(None);

/// Error codes of version 3.
const V3_CODES: [&str; 5] = [
    "NOT_LINKED",
    "NOT_PAIRED",
    "AGENT_TIMEOUT",
    "INVALID_REQUEST",
    "UNAVAILABLE",
];

/// Values shown in a complaint are cut here.
const SHOWN: usize = 400;

/// Looks at a frame's own members: they are the same, and all there may be, in both versions.
pub fn check_frame(frame: &Value) -> Result<(), String> {
    match frame["type"].as_str() {
        Some("res") => fits("ResponseFrame", "a response", frame),
        Some("event") => fits("EventFrame", "an event", frame),
        _ => Err(format!("no response and no event: {frame}")),
    }
}

/// Looks at a frame for a client of version 3: an error has one of the codes it knows.
pub fn check_v3(frame: &Value) -> Result<(), String> {
    let code = frame.pointer("/error/code").and_then(Value::as_str);
    match code {
        Some(code) if !V3_CODES.contains(&code) => {
            Err(format!("{code} is no error code of version 3: {frame}"))
        }
        _ => Ok(()),
    }
}

/// Looks at the payload of a good answer to `method`.
pub fn check_answer(method: &str, payload: &Value) -> Result<(), String> {
    let definition = answer_definition(method)
        .ok_or_else(|| format!("{method} has no row in support/schema_table.rs"))?;
    check(definition, method, payload)
}

/// Looks at the payload of an event.
pub fn check_event(event: &str, payload: &Value) -> Result<(), String> {
    let definition = event_definition(event)
        .ok_or_else(|| format!("{event} has no row in support/schema_table.rs"))?;
    check(definition, event, payload)
}

/// The definition of a method's answer.
pub fn answer_definition(method: &str) -> Option<&'static str> {
    if let Some(entry) = SCHEMA["methods"].get(method) {
        let reference = entry.pointer("/result/$ref").and_then(Value::as_str);
        return Some(reference.map_or(ANY, |path| {
            path.strip_prefix("#/definitions/").unwrap_or_default()
        }));
    }
    let row = METHODS.iter().find(|(name, _)| *name == method);
    row.map(|(_, definition)| *definition)
}

/// The definition of an event's payload.
pub fn event_definition(event: &str) -> Option<&'static str> {
    let row = EVENTS.iter().find(|(name, _)| *name == event);
    row.map(|(_, definition)| *definition)
}

fn check(definition: &str, name: &str, payload: &Value) -> Result<(), String> {
    if definition == ANY {
        return Ok(());
    }
    let mut payload = payload.clone();
    for (_, path, members) in EXTRA.iter().filter(|(of, ..)| *of == name) {
        let steps: Vec<&str> = path.split('/').skip(1).collect();
        take_out(&mut payload, &steps, members);
    }
    fits(definition, name, &payload)
}

fn take_out(value: &mut Value, steps: &[&str], members: &[&str]) {
    match (steps, value) {
        ([], Value::Object(object)) => object.retain(|name, _| !members.contains(&name.as_str())),
        (["*", rest @ ..], Value::Array(items)) => {
            for item in items {
                take_out(item, rest, members);
            }
        }
        ([step, rest @ ..], value) => {
            if let Some(value) = value.get_mut(*step) {
                take_out(value, rest, members);
            }
        }
        _ => {}
    }
}

fn fits(definition: &str, name: &str, value: &Value) -> Result<(), String> {
    let complaints: Vec<String> = validator(definition)
        .iter_errors(value)
        .map(|error| {
            let path = error.instance_path().to_string();
            let at = value.pointer(&path).unwrap_or(&Value::Null).to_string();
            let at: String = at.chars().take(SHOWN).collect();
            let why: String = error.to_string().chars().take(SHOWN).collect();
            format!("{name} {path}: {why}\n  in {at}")
        })
        .collect();
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(format!("against {definition}:\n{}", complaints.join("\n")))
    }
}

fn validator(definition: &str) -> &'static Validator {
    let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let validators = validators.get_or_insert_default();
    if let Some(validator) = validators.get(definition) {
        return validator;
    }
    let schema = if definition == "PRESENCE" {
        // The payload has no definition of its own, what it lists has.
        json!({
            "type": "object", "required": ["presence"], "additionalProperties": false,
            "properties": {"presence": {
                "type": "array", "items": SCHEMA["definitions"]["PresenceEntry"],
            }},
        })
    } else {
        SCHEMA["definitions"][definition].clone()
    };
    assert!(schema.is_object(), "the schema has no {definition}");
    let built = jsonschema::draft7::options().build(&schema).unwrap();
    // As many as there are definitions, for the life of the test run.
    let validator: &'static Validator = Box::leak(Box::new(built));
    validators.insert(definition.to_owned(), validator);
    validator
}
