//! Flag > `CLAWLINE_*` > `OPENCLAW_*` > file > default, asked for each key where it is read, so that
//! every value knows where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::check::{Problem, Warning};
use super::leaf::Leaf;
use crate::secret_text::{self, Kind};

/// What is wrong with a key that nobody knows.
pub(super) const UNKNOWN: &str = "unknown key";

/// A value given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// The key it sets, e.g. `gateway.port`.
    pub key: &'static str,
    /// The option's name, for messages, e.g. `--port`.
    pub flag: &'static str,
    /// What was typed.
    pub text: crate::secret::Secret,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An option of the command line.
    Flag(&'static str),
    /// An environment variable.
    Environment(String),
    /// A config file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One key as it is in force, for `config show`. Secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownValue {
    /// The key's path.
    pub key: String,
    /// Its value; `"***"` for a secret that is set.
    pub value: Value,
    /// Who set it.
    pub source: Source,
}

/// A file's content and how it is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileLayer<'a> {
    pub path: &'a Path,
    pub tree: &'a Value,
    pub dialect: Dialect,
}

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Ours: an unknown key is an error.
    Ours,
    /// OpenClaw's: what is not understood is left out, with a warning where a known key is unusable.
    OpenClaw,
}

/// The layers, and what was noticed while reading them.
pub(super) struct Reader<'a> {
    pub vars: &'a BTreeMap<String, String>,
    pub flags: &'a [FlagValue],
    pub file: Option<FileLayer<'a>>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
    pub shown: Vec<ShownValue>,
    /// The first key of the file that holds a secret.
    pub secret_in_file: Option<String>,
}

/// Where in the tree a value is read.
pub(super) struct Place<'v> {
    pub path: String,
    pub value: Option<&'v Value>,
    /// Names of the environment that set it, besides the one made from its path.
    pub env: &'static [&'static str],
    /// False inside lists and maps, whose members have no variable of their own.
    pub has_env: bool,
}

/// Something that can be read at a place: a section, a map, a list or a single value.
pub(super) trait Node: Sized {
    fn read(reader: &mut Reader<'_>, place: &Place<'_>, default: Self) -> Self;
}

impl<T: Leaf> Node for T {
    fn read(reader: &mut Reader<'_>, place: &Place<'_>, default: Self) -> Self {
        let (value, source) = reader
            .flag(place)
            .or_else(|| reader.environment(place))
            .or_else(|| reader.file_value(place))
            .unwrap_or((default, Source::Default));
        if T::SECRET && matches!(source, Source::File(_)) {
            reader
                .secret_in_file
                .get_or_insert_with(|| place.path.clone());
        }
        reader.shown.push(ShownValue {
            key: place.path.clone(),
            value: value.show(),
            source,
        });
        value
    }
}

impl<T: Node + Default> Node for BTreeMap<String, T> {
    fn read(reader: &mut Reader<'_>, place: &Place<'_>, default: Self) -> Self {
        let Some(members) = reader.object(place) else {
            return default;
        };
        let mut map = Self::new();
        for (name, value) in members {
            let inner = Place {
                path: format!("{}.{name}", place.path),
                value: Some(value),
                env: &[],
                has_env: false,
            };
            map.insert(name.clone(), T::read(reader, &inner, T::default()));
        }
        map
    }
}

/// Reads a list of sections.
pub(super) fn read_list<T: Node + Default>(
    reader: &mut Reader<'_>,
    place: &Place<'_>,
) -> Option<Vec<T>> {
    match place.value {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) => {
            let items = items.iter().enumerate().map(|(index, value)| {
                let inner = Place {
                    path: format!("{}[{index}]", place.path),
                    value: Some(value),
                    env: &[],
                    has_env: false,
                };
                T::read(reader, &inner, T::default())
            });
            Some(items.collect())
        }
        Some(other) => {
            reader.refuse(place, format!("must be a list (got {})", kind_of(other)));
            None
        }
    }
}

impl<'v> Place<'v> {
    /// The whole file.
    pub fn root(value: Option<&'v Value>) -> Self {
        Self {
            path: String::new(),
            value,
            env: &[],
            has_env: true,
        }
    }

    /// A member of a section.
    pub fn child(
        &self,
        members: Option<&'v Map<String, Value>>,
        key: &str,
        env: &'static [&'static str],
    ) -> Self {
        let path = match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        };
        Self {
            path,
            value: members.and_then(|members| members.get(key)),
            env,
            has_env: self.has_env,
        }
    }
}

impl Reader<'_> {
    /// The members of a section after its names were checked.
    pub fn section<'v>(
        &mut self,
        place: &Place<'v>,
        known: &[&str],
    ) -> Option<&'v Map<String, Value>> {
        let members = self.object(place)?;
        if self.is_strict() {
            for name in members
                .keys()
                .filter(|name| !known.contains(&name.as_str()))
            {
                let shown = crate::layer::printable(name, 80);
                let key = match place.path.as_str() {
                    "" => shown,
                    path => format!("{path}.{shown}"),
                };
                let mut problem = Problem::new(UNKNOWN);
                problem.next = match nearest(name, known) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("known here: {}", known.join(", ")),
                };
                problem.key = Some(key);
                problem.file = self.file.map(|file| file.path.to_owned());
                self.problems.push(problem);
            }
        }
        Some(members)
    }

    fn object<'v>(&mut self, place: &Place<'v>) -> Option<&'v Map<String, Value>> {
        match place.value? {
            Value::Null => None,
            Value::Object(members) => Some(members),
            other => {
                self.refuse(place, format!("must be an object (got {})", kind_of(other)));
                None
            }
        }
    }

    fn is_strict(&self) -> bool {
        self.file.is_some_and(|file| file.dialect == Dialect::Ours)
    }

    fn flag<T: Leaf>(&mut self, place: &Place<'_>) -> Option<(T, Source)> {
        let given = self.flags.iter().find(|flag| flag.key == place.path)?;
        let source = Source::Flag(given.flag);
        match self.text(place, &source, given.text.expose()) {
            Ok(value) => Some((value, source)),
            Err(why) => {
                let mut problem = Problem::new(format!("{} {why}", given.flag));
                problem.key = Some(place.path.clone());
                self.problems.push(problem);
                None
            }
        }
    }

    fn environment<T: Leaf>(&mut self, place: &Place<'_>) -> Option<(T, Source)> {
        if !place.has_env {
            return None;
        }
        let own = variable_name(&place.path);
        let ours = place
            .env
            .iter()
            .filter(|name| name.starts_with("CLAWLINE_"));
        let theirs = place.env.iter().filter(|n| !n.starts_with("CLAWLINE_"));
        let names = std::iter::once(own.as_str()).chain(ours.chain(theirs).copied());
        for name in names {
            let vars = self.vars;
            let Some(text) = vars.get(name).filter(|text| !text.trim().is_empty()) else {
                continue;
            };
            let source = Source::Environment(name.to_owned());
            match self.text(place, &source, text) {
                Ok(value) => return Some((value, source)),
                Err(why) => {
                    let what = format!("environment {name} {why}");
                    // One variable can stand for several keys, and is told of once.
                    if !self.problems.iter().any(|problem| problem.what == what) {
                        let mut problem = Problem::new(what);
                        problem.key = Some(place.path.clone());
                        self.problems.push(problem);
                    }
                }
            }
        }
        None
    }

    fn file_value<T: Leaf>(&mut self, place: &Place<'_>) -> Option<(T, Source)> {
        let file = self.file?;
        let value = place.value.filter(|value| !value.is_null())?;
        let source = Source::File(file.path.to_owned());
        let read = match value {
            Value::String(text) if file.dialect == Dialect::OpenClaw && text.contains("${") => {
                Err("holds ${…}, which only OpenClaw itself can resolve".to_owned())
            }
            Value::String(text) if T::SECRET => self.text(place, &source, text),
            value => T::from_value(value),
        };
        match read {
            Ok(value) => Some((value, source)),
            Err(why) => {
                self.refuse(place, why);
                None
            }
        }
    }

    /// A value from a text. Nothing around a secret is left out without a word.
    fn text<T: Leaf>(
        &mut self,
        place: &Place<'_>,
        source: &Source,
        text: &str,
    ) -> Result<T, String> {
        if !T::SECRET {
            return T::from_text(text);
        }
        let kind = match place.path.rsplit('.').next() {
            Some("password") => Kind::Password,
            _ => Kind::Token,
        };
        let handed = secret_text::read(text, kind).map_err(|why| why.to_string())?;
        let is_new = !self.warnings.iter().any(
            |warning| matches!(warning, Warning::LineBreak { source: told, .. } if told == source),
        );
        // One variable can stand for several keys; the keys of a file are told of one by one.
        if handed.had_line_break && (is_new || matches!(source, Source::File(_))) {
            self.warnings.push(Warning::LineBreak {
                source: source.clone(),
                key: place.path.clone(),
            });
        }
        T::from_text(handed.secret.expose())
    }

    /// Notes that the file's value at a place cannot be used.
    pub fn refuse(&mut self, place: &Place<'_>, why: String) {
        let file = self.file.map(|file| file.path.to_owned());
        if self.is_strict() {
            let mut problem = Problem::new(why);
            problem.key = Some(place.path.clone());
            problem.file = file;
            self.problems.push(problem);
        } else {
            self.warnings.push(Warning::Unusable {
                file: file.unwrap_or_default(),
                key: place.path.clone(),
                why,
            });
        }
    }
}

/// The variable of a key: `gateway.auth.token` is `CLAWLINE_GATEWAY_AUTH_TOKEN`.
pub fn variable_name(key: &str) -> String {
    let mut name = String::from("CLAWLINE_");
    for c in key.chars() {
        match c {
            '.' => name.push('_'),
            c if c.is_ascii_uppercase() => {
                name.push('_');
                name.push(c);
            }
            c => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}

/// The known name that was probably meant.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    // Below 0.8 the suggestions read like guesses.
    const ALIKE: f64 = 0.8;
    known
        .iter()
        .map(|known| {
            let likeness = strsim::jaro_winkler(&name.to_lowercase(), &known.to_lowercase());
            (likeness, *known)
        })
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// What a value is, in words.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Declares a section: its fields, their keys in the file, their defaults and extra variables, once.
macro_rules! section {
    (
        $(#[$doc:meta])*
        pub struct $name:ident {
            $(
                $(#[$field_doc:meta])*
                $field:ident: $ty:ty = $key:literal $(, default = $default:expr)? $(, env = $env:expr)?;
            )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $ty, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::config::layers::section!(@default $ty $(, $default)?), )* }
            }
        }

        impl $crate::config::layers::Node for $name {
            fn read(
                reader: &mut $crate::config::layers::Reader<'_>,
                place: &$crate::config::layers::Place<'_>,
                default: Self,
            ) -> Self {
                let members = reader.section(place, &[$($key),*]);
                Self {
                    $( $field: $crate::config::layers::Node::read(
                        reader,
                        &place.child(members, $key, $crate::config::layers::section!(@env $($env)?)),
                        default.$field,
                    ), )*
                }
            }
        }
    };
    (@default $ty:ty) => { <$ty>::default() };
    (@default $ty:ty, $default:expr) => { $default };
    (@env) => { &[] };
    (@env $env:expr) => { &$env };
}
pub(super) use section;
