//! Single values of the configuration: how each is read from a file, from one line of text, and shown.

use serde_json::Value;

use super::layers::kind_of;
use crate::layer::printable;
use crate::secret::Secret;

/// A single value. Errors are the rest of a sentence: "must be …".
pub(super) trait Leaf: Sized {
    /// True for what must not be shown. Its text goes through [`crate::secret_text`] first.
    const SECRET: bool = false;

    /// From a config file.
    fn from_value(value: &Value) -> Result<Self, String>;

    /// From an environment variable or a flag.
    fn from_text(text: &str) -> Result<Self, String>;

    /// For people; secrets are masked.
    fn show(&self) -> Value;
}

impl Leaf for bool {
    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_bool()
            .ok_or_else(|| format!("must be true or false (got {})", kind_of(value)))
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => Ok(true),
            "0" | "false" | "no" | "off" => Ok(false),
            other => Err(format!(
                "must be true or false (got \"{}\")",
                printable(other, 40)
            )),
        }
    }

    fn show(&self) -> Value {
        (*self).into()
    }
}

impl Leaf for String {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text.clone()),
            other => Err(format!("must be text (got {})", kind_of(other))),
        }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn show(&self) -> Value {
        self.as_str().into()
    }
}

impl Leaf for Secret {
    const SECRET: bool = true;

    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self::new(text.as_str())),
            Value::Object(_) => Err("is a reference to a secret kept elsewhere, \
                                     which only OpenClaw itself can resolve"
                .into()),
            other => Err(format!("must be text (got {})", kind_of(other))),
        }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Self::from_value(&text.into())
    }

    fn show(&self) -> Value {
        "***".into()
    }
}

macro_rules! whole_numbers {
    ($($ty:ty: $min:expr;)*) => { $(
        impl Leaf for $ty {
            fn from_value(value: &Value) -> Result<Self, String> {
                let number = match value {
                    Value::Number(number) => number.as_u64().and_then(|n| <$ty>::try_from(n).ok()),
                    _ => None,
                };
                number.filter(|number| ($min..=<$ty>::MAX).contains(number)).ok_or_else(|| {
                    let got = match value {
                        Value::Number(number) => number.to_string(),
                        Value::String(text) => format!("text \"{}\"", printable(text, 40)),
                        other => kind_of(other).to_owned(),
                    };
                    format!("must be a whole number from {} to {} (got {got})", $min, <$ty>::MAX)
                })
            }

            fn from_text(text: &str) -> Result<Self, String> {
                text.trim().parse().ok().filter(|number| ($min..=<$ty>::MAX).contains(number)).ok_or_else(|| {
                    format!(
                        "must be a whole number from {} to {} (got \"{}\")",
                        $min, <$ty>::MAX, printable(text, 40),
                    )
                })
            }

            fn show(&self) -> Value {
                (*self).into()
            }
        }
    )* };
}
// Port 0 is nobody's port; the other numbers are counts and milliseconds.
whole_numbers! { u16: 1; u32: 0; u64: 0; }

/// An amount of dollars, kept in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dollars(u32);

impl Dollars {
    /// The largest amount that is read.
    const MAX: f64 = 1e6;

    /// The amount.
    pub fn to_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }

    fn read(number: Option<f64>, got: &str) -> Result<Self, String> {
        number
            .filter(|number| (0.0..=Self::MAX).contains(number))
            .and_then(|number| format!("{:.0}", number * 1000.0).parse().ok())
            .map(Self)
            .ok_or_else(|| format!("must be dollars, such as 0.25 (got {got})"))
    }
}

impl Leaf for Dollars {
    fn from_value(value: &Value) -> Result<Self, String> {
        let got = match value {
            Value::Number(number) => number.to_string(),
            other => kind_of(other).to_owned(),
        };
        Self::read(value.as_f64(), &got)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let got = format!("\"{}\"", printable(text, 40));
        Self::read(text.trim().parse().ok(), &got)
    }

    fn show(&self) -> Value {
        self.to_f64().into()
    }
}

impl<T: Leaf> Leaf for Option<T> {
    const SECRET: bool = T::SECRET;

    fn from_value(value: &Value) -> Result<Self, String> {
        T::from_value(value).map(Some)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        T::from_text(text).map(Some)
    }

    fn show(&self) -> Value {
        self.as_ref().map_or(Value::Null, Leaf::show)
    }
}

/// A list may also be written as the one text it holds.
impl Leaf for Vec<String> {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(vec![text.clone()]),
            Value::Array(items) => items
                .iter()
                .map(|item| {
                    String::from_value(item)
                        .map_err(|_| format!("must be a list of texts (one is {})", kind_of(item)))
                })
                .collect(),
            other => Err(format!("must be a list of texts (got {})", kind_of(other))),
        }
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let items = text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        Ok(items.map(str::to_owned).collect())
    }

    fn show(&self) -> Value {
        self.as_slice().into()
    }
}

/// Declares a closed choice of words.
macro_rules! choice {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {
            $( $(#[$variant_doc:meta])* $variant:ident = $word:literal, )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum $name {
            $( $(#[$variant_doc])* $variant, )*
        }

        impl $name {
            /// The word in the file.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl $crate::config::leaf::Leaf for $name {
            fn from_value(value: &serde_json::Value) -> Result<Self, String> {
                match value {
                    serde_json::Value::String(text) => Self::from_text(text),
                    other => Err(format!(
                        "must be one of {} (got {})",
                        [$($word),*].join(", "),
                        $crate::config::layers::kind_of(other),
                    )),
                }
            }

            fn from_text(text: &str) -> Result<Self, String> {
                match text.trim() {
                    $( $word => Ok(Self::$variant), )*
                    other => {
                        let words = [$($word),*];
                        let shown = $crate::layer::printable(other, 40);
                        Err(match $crate::config::layers::nearest(other, &words) {
                            Some(near) => format!("must be one of {} (got \"{shown}\"; did you mean \"{near}\"?)", words.join(", ")),
                            None => format!("must be one of {} (got \"{shown}\")", words.join(", ")),
                        })
                    }
                }
            }

            fn show(&self) -> serde_json::Value {
                self.word().into()
            }
        }
    };
}
pub(super) use choice;
