//! Tokens and what they cost, as providers report them.

use serde::{Deserialize, Serialize};

/// Token counts of one answer, or of many together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Without those that came from a cache or went into one.
    pub input: i64,
    pub output: i64,
    pub total: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write: i64,
    /// Known where the configuration has a price for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// A cost in billionths of a dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cost {
    pub input: i64,
    pub output: i64,
    pub cache_read: i64,
    pub cache_write: i64,
}

impl Cost {
    /// Everything together.
    pub fn total(self) -> i64 {
        [self.input, self.output, self.cache_read, self.cache_write]
            .into_iter()
            .fold(0, i64::saturating_add)
    }
}

/// Prices of a model, in billionths of a dollar for one token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Price {
    pub input: i64,
    pub output: i64,
    pub cache_read: i64,
    pub cache_write: i64,
}

impl Price {
    /// From dollars for a million tokens, as configurations write prices; absent cache prices are
    /// that of input. `None` where a number is no price.
    pub fn per_million(
        input: f64,
        output: f64,
        cache_read: Option<f64>,
        cache_write: Option<f64>,
    ) -> Option<Self> {
        Some(Self {
            input: nanos(input)?,
            output: nanos(output)?,
            cache_read: nanos(cache_read.unwrap_or(input))?,
            cache_write: nanos(cache_write.unwrap_or(input))?,
        })
    }

    /// What this many tokens cost.
    pub fn of(self, usage: &Usage) -> Cost {
        Cost {
            input: self.input.saturating_mul(usage.input),
            output: self.output.saturating_mul(usage.output),
            cache_read: self.cache_read.saturating_mul(usage.cache_read),
            cache_write: self.cache_write.saturating_mul(usage.cache_write),
        }
    }
}

/// No model costs as much as a dollar for a token.
const MAX_PRICE: f64 = 1e6;

fn nanos(dollars_per_million: f64) -> Option<i64> {
    if !(0.0..=MAX_PRICE).contains(&dollars_per_million) {
        return None;
    }
    // At most 1e9, which every float and every i64 holds.
    format!("{:.0}", dollars_per_million * 1000.0).parse().ok()
}

/// What was used on one day, of one session or one agent, with one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageRow {
    pub day: String,
    pub agent_id: String,
    pub provider: String,
    pub model: String,
    pub sums: UsageSums,
}

/// Sums over runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageSums {
    pub runs: i64,
    pub errors: i64,
    /// Runs without a known cost.
    pub unpriced: i64,
    /// `cost` is always there: of the runs that have one.
    pub usage: Usage,
}

impl UsageSums {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.errors += other.errors;
        self.unpriced += other.unpriced;
        let (sum, more) = (&mut self.usage, &other.usage);
        sum.input += more.input;
        sum.output += more.output;
        sum.total += more.total;
        sum.cache_read += more.cache_read;
        sum.cache_write += more.cache_write;
        let (mut cost, more) = (sum.cost.unwrap_or_default(), more.cost.unwrap_or_default());
        cost.input += more.input;
        cost.output += more.output;
        cost.cache_read += more.cache_read;
        cost.cache_write += more.cache_write;
        sum.cost = Some(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_read_in_dollars_for_a_million_tokens() {
        let price = Price::per_million(3.0, 15.0, Some(0.3), None).unwrap();
        let usage = Usage {
            input: 1000,
            output: 100,
            cache_read: 10,
            cache_write: 1,
            total: 1111,
            cost: None,
        };
        let cost = price.of(&usage);
        assert_eq!(
            (cost.input, cost.output, cost.cache_read, cost.cache_write),
            (3_000_000, 1_500_000, 3000, 3000)
        );
        assert_eq!(cost.total(), 4_506_000);
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e7] {
            assert_eq!(Price::per_million(bad, 1.0, None, None), None);
        }
    }
}
