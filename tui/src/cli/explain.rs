//! `clawline explain`: every SSH setting for a target, with the file and line it came from.

use clawline::layer::printable;
use serde_json::json;

use super::connect::{fail_early, print_note};
use super::context::Context;
use crate::link::UsageError;

/// Longest value that is shown whole; a list of algorithms fits.
const LONGEST_VALUE: usize = 1000;

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// [USER@]HOST[:PORT], an alias of ssh_config, or a host of clawline.json5
    #[arg(value_name = "TARGET")]
    pub(super) target: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> u8 {
    let target = match (&args.target, &context.host) {
        (Some(target), None) | (None, Some(target)) => target,
        (Some(_), Some(_)) | (None, None) => {
            let error = UsageError::new("explain takes one TARGET", "clawline explain me@desktop");
            return fail_early(context, None, error.into());
        }
    };
    let resolved = context
        .connector
        .ssh_target(target)
        .and_then(|(target, host)| context.connector.resolve(&target, &host));
    let resolved = match resolved {
        Ok(resolved) => resolved,
        Err(error) => return fail_early(context, Some(target), error.into()),
    };
    if context.out.json {
        let settings: Vec<_> = resolved
            .explain
            .iter()
            .map(|setting| {
                json!({
                    "hop": setting.hop,
                    "keyword": setting.keyword,
                    "value": setting.value,
                    "source": setting.source.to_string(),
                })
            })
            .collect();
        let notices: Vec<String> = resolved.notices.iter().map(ToString::to_string).collect();
        let hops: Vec<&str> = resolved.spec.hops.iter().map(|hop| &*hop.alias).collect();
        let forwards: Vec<_> = resolved
            .spec
            .local_forwards
            .iter()
            .map(|forward| json!({ "listen": forward.listen, "source": forward.at }))
            .collect();
        context.out.value(&json!({
            "v": 1, "target": target, "ok": true, "hops": hops, "settings": settings,
            "notices": notices, "suggestedForwards": forwards,
        }));
        return 0;
    }
    let mut hop = None;
    for setting in &resolved.explain {
        if hop != Some(&setting.hop) {
            context.out.line(&setting.hop);
            hop = Some(&setting.hop);
        }
        let value = printable(&setting.value, LONGEST_VALUE);
        context.out.line(&format!(
            "  {:<28} {value}  ({})",
            setting.keyword, setting.source
        ));
    }
    for forward in &resolved.spec.local_forwards {
        print_note(
            context,
            &format!(
                "{}: LocalForward is not opened by itself; take it over with --tunnel-only --listen {}",
                forward.at,
                printable(&forward.listen, LONGEST_VALUE)
            ),
        );
    }
    for notice in &resolved.notices {
        print_note(context, &notice.to_string());
    }
    0
}
