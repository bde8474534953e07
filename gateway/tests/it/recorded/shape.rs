//! The shape of JSON values: which members, of which types; and how one shape differs from another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::table::How;

/// A type of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// What values at one place look like: the union of those that were seen there.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    kinds: BTreeSet<Kind>,
    /// How many objects were seen here.
    objects: usize,
    members: BTreeMap<String, Member>,
    /// Of all items of all arrays.
    items: Option<Box<Shape>>,
}

/// A member of the objects at one place.
#[derive(Debug, Clone, Default)]
struct Member {
    /// In how many of them it was.
    seen: usize,
    shape: Shape,
}

impl Shape {
    pub fn of(value: &Value) -> Self {
        let mut shape = Self::default();
        shape.add(value);
        shape
    }

    /// Takes up one more value.
    pub fn add(&mut self, value: &Value) {
        self.kinds.insert(match value {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Bool,
            Value::Number(_) => Kind::Number,
            Value::String(_) => Kind::String,
            Value::Array(_) => Kind::Array,
            Value::Object(_) => Kind::Object,
        });
        match value {
            Value::Array(items) => {
                for item in items {
                    self.items.get_or_insert_default().add(item);
                }
            }
            Value::Object(members) => {
                self.objects += 1;
                for (name, value) in members {
                    let member = self.members.entry(name.clone()).or_default();
                    member.seen += 1;
                    member.shape.add(value);
                }
            }
            _ => {}
        }
    }

    /// Whether anything was seen at this path, in which `*` is every item.
    pub fn has(&self, path: &str) -> bool {
        let mut here = self;
        for step in path.split('/').skip(1) {
            let next = match step {
                "*" => here.items.as_deref(),
                name => here.members.get(name).map(|member| &member.shape),
            };
            match next {
                Some(next) => here = next,
                None => return false,
            }
        }
        true
    }

    fn always_has(&self, name: &str) -> bool {
        self.members.get(name).map_or(0, |member| member.seen) == self.objects
    }
}

/// How our value differs from the `recorded` one. A member or type of ours may also be one that
/// another recording of the same kind, in `known`, has.
pub fn differences(ours: &Value, recorded: &Value, known: &Shape) -> Vec<(How, String)> {
    let mut found = Vec::new();
    let (ours, recorded) = (Shape::of(ours), Shape::of(recorded));
    compare("", &ours, Some(&recorded), known, &mut found);
    found
}

/// As [`differences`], for a value of which no single recording is the counterpart.
pub fn differences_from_known(ours: &Value, known: &Shape) -> Vec<(How, String)> {
    let mut found = Vec::new();
    compare("", &Shape::of(ours), None, known, &mut found);
    found
}

fn compare(
    path: &str,
    ours: &Shape,
    recorded: Option<&Shape>,
    known: &Shape,
    found: &mut Vec<(How, String)>,
) {
    if !ours.kinds.is_subset(&known.kinds) {
        found.push((How::Type, path.to_owned()));
        return;
    }
    let recorded_items = recorded.and_then(|recorded| recorded.items.as_deref());
    match (&ours.items, &known.items) {
        (Some(_), None) => found.push((How::Added, format!("{path}/*"))),
        (Some(items), Some(known)) => {
            compare(&format!("{path}/*"), items, recorded_items, known, found);
        }
        (None, _) if recorded_items.is_some() && ours.kinds.contains(&Kind::Array) => {
            found.push((How::Missing, format!("{path}/*")));
        }
        (None, _) => {}
    }
    for (name, member) in &ours.members {
        let path = format!("{path}/{name}");
        match known.members.get(name) {
            None => found.push((How::Added, path)),
            Some(known) => {
                let recorded = recorded.and_then(|recorded| recorded.members.get(name));
                let recorded = recorded.map(|member| &member.shape);
                compare(&path, &member.shape, recorded, &known.shape, found);
            }
        }
    }
    // What a recording always has, ours always has; what it has at times, ours has at least once.
    let wanted = recorded.unwrap_or(known);
    for (name, member) in &wanted.members {
        let is_wanted_always = recorded.is_none_or(|recorded| recorded.always_has(name))
            && member.seen == wanted.objects;
        let is_missing = if is_wanted_always {
            !ours.always_has(name)
        } else {
            recorded.is_some() && !ours.members.contains_key(name)
        };
        if is_missing && ours.objects > 0 {
            found.push((How::Missing, format!("{path}/{name}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(ours: Value, recorded: Value) -> Vec<(How, String)> {
        differences(&ours, &recorded, &Shape::of(&recorded))
    }

    fn one(how: How, path: &str) -> Vec<(How, String)> {
        vec![(how, path.to_owned())]
    }

    #[test]
    fn other_values_of_the_same_shape_do_not_differ() {
        let ours = json!({"a": 1, "b": [{"c": "x"}, {"c": "y", "d": null}], "e": {}});
        let recorded = json!({"a": 2.5, "b": [{"c": "", "d": null}, {"c": "z"}], "e": {}});
        assert_eq!(found(ours, recorded), []);
    }

    #[test]
    fn a_wrong_type_a_missing_and_an_additional_member_are_found_at_any_depth() {
        for (ours, recorded, how, path) in [
            (json!(1), json!("1"), How::Type, ""),
            (json!({"a": "1"}), json!({"a": 1}), How::Type, "/a"),
            (json!({"a": null}), json!({"a": 1}), How::Type, "/a"),
            (json!({"a": 1}), json!({"a": null}), How::Type, "/a"),
            (json!({"a": {}}), json!({"a": []}), How::Type, "/a"),
            (json!({}), json!({"a": 1}), How::Missing, "/a"),
            (json!({}), json!({"a": null}), How::Missing, "/a"),
            (json!({"a": 1}), json!({}), How::Added, "/a"),
            (json!({"a": null}), json!({}), How::Added, "/a"),
            (json!([1, "2"]), json!([1]), How::Type, "/*"),
            (json!([1]), json!([]), How::Added, "/*"),
            (json!([]), json!([1]), How::Missing, "/*"),
            (
                json!({"a": [{"b": {"c": 1}}]}),
                json!({"a": [{"b": {"c": 1, "d": 2}}]}),
                How::Missing,
                "/a/*/b/d",
            ),
            (
                json!({"a": [{"b": {"c": 1}}, {"b": {"c": true}}]}),
                json!({"a": [{"b": {"c": 1}}]}),
                How::Type,
                "/a/*/b/c",
            ),
        ] {
            let name = format!("{ours} beside {recorded}");
            assert_eq!(found(ours, recorded), one(how, path), "{name}");
        }
    }

    #[test]
    fn a_member_of_every_item_is_missing_where_one_item_lacks_it() {
        let recorded = json!([{"a": 1, "b": 1}, {"a": 2}]);
        let lacks = found(json!([{"a": 1, "b": 1}, {"b": 1}]), recorded.clone());
        assert_eq!(lacks, one(How::Missing, "/*/a"));
        let never = found(json!([{"a": 1}, {"a": 1}]), recorded.clone());
        assert_eq!(never, one(How::Missing, "/*/b"));
        assert_eq!(found(json!([{"a": 1}, {"a": 1, "b": 2}]), recorded), []);
    }

    #[test]
    fn a_shape_has_what_was_seen_in_any_item() {
        let shape = Shape::of(&json!({"a": [{"b": 1}, {"c": {"d": null}}]}));
        for path in ["", "/a", "/a/*/b", "/a/*/c/d"] {
            assert!(shape.has(path), "{path}");
        }
        for path in ["/b", "/a/b", "/a/*/d", "/a/*/b/*"] {
            assert!(!shape.has(path), "{path}");
        }
    }

    #[test]
    fn what_another_recording_has_may_be_there_and_need_not() {
        let recorded = json!({"a": 1});
        let mut known = Shape::of(&recorded);
        known.add(&json!({"a": null, "b": "x", "c": [{"d": 1}]}));
        let differ = |ours: Value| differences(&ours, &recorded, &known);
        assert_eq!(differ(json!({"a": null, "c": [{"d": 2}]})), []);
        assert_eq!(differ(json!({"a": 1, "b": 2})), one(How::Type, "/b"));
        assert_eq!(
            differ(json!({"a": 1, "c": [{"d": 2, "e": 3}]})),
            one(How::Added, "/c/*/e")
        );
        let alone = |ours: Value| differences_from_known(&ours, &known);
        assert_eq!(alone(json!({"a": 1})), []);
        assert_eq!(alone(json!({"b": "x"})), one(How::Missing, "/a"));
    }
}
