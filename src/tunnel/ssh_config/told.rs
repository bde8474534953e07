//! What is in effect, collected for `explain`, and how values are written there.

use std::fmt::Display;
use std::time::Duration;

use super::options::Said;
use super::source::{Setting, Source};
use crate::tunnel::spec::{AddKeysToAgent, AddressFamily, RekeyLimit};

/// Collects what is in effect for one hop. Every value passes through here once, said or not.
pub(super) struct Told<'a> {
    pub(super) hop: &'a str,
    pub(super) explain: &'a mut Vec<Setting>,
}

impl Told<'_> {
    pub(super) fn tell(&mut self, keyword: &'static str, value: impl Display, source: Source) {
        self.explain.push(Setting {
            hop: self.hop.to_owned(),
            keyword,
            value: value.to_string(),
            source,
        });
    }

    /// A value for which `unsaid` is shown when nobody said anything.
    pub(super) fn optional<T: Clone>(
        &mut self,
        keyword: &'static str,
        said: &Said<T>,
        unsaid: impl Display,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        match said {
            Some(said) => self.tell(keyword, show(&said.value), said.source.clone()),
            None => self.tell(keyword, unsaid, Source::Default),
        }
        said.as_ref().map(|said| said.value.clone())
    }

    /// A value with a default.
    pub(super) fn value<T: Clone>(
        &mut self,
        keyword: &'static str,
        said: &Said<T>,
        default: T,
        show: impl Fn(&T) -> String,
    ) -> T {
        let value = said.as_ref().map_or(default, |said| said.value.clone());
        self.tell(keyword, show(&value), source_of(said));
        value
    }

    pub(super) fn number(&mut self, keyword: &'static str, said: &Said<u32>, default: u32) -> u32 {
        self.value(keyword, said, default, u32::to_string)
    }

    pub(super) fn switch(
        &mut self,
        keyword: &'static str,
        said: &Said<bool>,
        default: bool,
    ) -> bool {
        self.value(keyword, said, default, yes_no)
    }
}

pub(super) fn source_of<T>(said: &Said<T>) -> Source {
    said.as_ref()
        .map_or(Source::Default, |said| said.source.clone())
}

pub(super) fn yes_no(value: &bool) -> String {
    if *value { "yes" } else { "no" }.to_owned()
}

pub(super) fn seconds(time: &Duration) -> String {
    time.as_secs().to_string()
}

pub(super) fn mask(mask: &u32) -> String {
    format!("{mask:04o}")
}

pub(super) fn family(family: &AddressFamily) -> String {
    match family {
        AddressFamily::Any => "any",
        AddressFamily::Inet => "inet",
        AddressFamily::Inet6 => "inet6",
    }
    .to_owned()
}

pub(super) fn rekey_limit(limit: &RekeyLimit) -> String {
    let bytes = limit
        .bytes
        .map_or_else(|| "default".to_owned(), |bytes| bytes.to_string());
    let time = limit
        .time
        .map_or_else(|| "none".to_owned(), |time| seconds(&time));
    format!("{bytes} {time}")
}

pub(super) fn add_keys(choice: &AddKeysToAgent) -> String {
    match choice {
        AddKeysToAgent::No => "no".to_owned(),
        AddKeysToAgent::Ask => "ask".to_owned(),
        AddKeysToAgent::Yes { lifetime: None } => "yes".to_owned(),
        AddKeysToAgent::Yes {
            lifetime: Some(time),
        } => seconds(time),
        AddKeysToAgent::Confirm { lifetime: None } => "confirm".to_owned(),
        AddKeysToAgent::Confirm {
            lifetime: Some(time),
        } => format!("confirm {}", seconds(time)),
    }
}
