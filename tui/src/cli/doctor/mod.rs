//! `clawline doctor`: is this machine in order for connecting? Nothing is dialled or changed.

mod compare;
mod places;

use clawline::config::HostConfig;
use clawline::layer::printable;
use clawline::tunnel::checkup::{Finding, Health, check_up};
use clawline::tunnel::ssh_config::{Difference, Resolved};
use clawline::tunnel::target::SshTarget;
use serde_json::json;

use super::connect::fail_early;
use super::context::Context;
use crate::link::UsageError;

/// Longest sentence that is shown whole.
const LONGEST: usize = 600;
/// Stands for every host where no TARGET was typed; no ssh_config names it.
const ANY_HOST: &str = "any-host.invalid";

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// [USER@]HOST[:PORT], an alias of ssh_config, or a host of clawline.json5; what holds for every
    /// host when left out
    #[arg(value_name = "TARGET")]
    pub(super) target: Option<String>,
}

/// Everything that was looked at.
#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
    /// Where ssh has another value, with the hop.
    differences: Vec<(String, Difference)>,
}

impl Report {
    fn is_good(&self) -> bool {
        self.findings
            .iter()
            .all(|finding| finding.health != Health::Bad)
    }
}

pub(crate) async fn run(context: &Context, args: &Args) -> u8 {
    if args.target.is_some() && context.host.is_some() {
        let error = UsageError::new("doctor takes one TARGET", "clawline doctor me@desktop");
        return fail_early(context, None, error.into());
    }
    let typed = args.target.as_ref().or(context.host.as_ref());
    let (target, host) = match context.connector.ssh_target(typed.map_or(ANY_HOST, |t| t)) {
        Ok(found) => found,
        Err(error) => return fail_early(context, typed.map(String::as_str), error.into()),
    };
    let mut report = Report::default();
    report.findings.extend(places::config(context));
    report.findings.extend(places::state(context));
    report.findings.extend(places::ssh_directory());
    match context.connector.resolve(&target, &host) {
        Ok(resolved) => look(context, &target, &host, &resolved, &mut report).await,
        Err(error) => report
            .findings
            .push(Finding::new("ssh_config", Health::Bad, error.what).next(error.next)),
    }
    print(context, typed.map(String::as_str), &report)
}

async fn look(
    context: &Context,
    target: &SshTarget,
    host: &HostConfig,
    resolved: &Resolved,
    report: &mut Report,
) {
    report.findings.push(Finding::new(
        "ssh_config",
        Health::Good,
        places::files_of(resolved),
    ));
    for notice in &resolved.notices {
        let finding = Finding::new("ssh_config", Health::Note, notice.to_string());
        report.findings.push(finding);
    }
    let mut hops = Vec::new();
    for hop in &resolved.spec.hops {
        hops.push((hop.alias.clone(), check_up(hop).await));
    }
    report.findings.extend(merge(hops));
    let flags = context.connector.ssh_flags(host);
    let (finding, differences) = compare::with_ssh(target, &flags, resolved).await;
    report.findings.push(finding);
    report.differences = differences;
}

/// What holds for every hop, once; the rest with the name of its hop.
fn merge(hops: Vec<(String, Vec<Finding>)>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = Vec::new();
    let holds_everywhere =
        |finding: &Finding| hops.iter().all(|(_, findings)| findings.contains(finding));
    for (alias, findings) in &hops {
        for finding in findings {
            let mut finding = finding.clone();
            if !holds_everywhere(&finding) {
                finding.what = format!("{alias}: {}", finding.what);
            }
            if !merged.contains(&finding) {
                merged.push(finding);
            }
        }
    }
    merged
}

fn print(context: &Context, target: Option<&str>, report: &Report) -> u8 {
    let code = u8::from(!report.is_good());
    if context.out.json {
        let checks: Vec<_> = report
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.subject, "state": word(finding.health),
                    "what": finding.what, "next": finding.next,
                })
            })
            .collect();
        let differences: Vec<_> = report
            .differences
            .iter()
            .map(|(hop, found)| {
                json!({
                    "hop": hop, "keyword": found.keyword, "ours": found.ours,
                    "source": found.source.to_string(), "theirs": found.theirs,
                    "reason": found.reason,
                })
            })
            .collect();
        context.out.value(&json!({
            "v": 1, "target": target, "ok": report.is_good(), "checks": checks,
            "differences": differences,
        }));
        return code;
    }
    for finding in &report.findings {
        let (state, what) = (word(finding.health), printable(&finding.what, LONGEST));
        context
            .out
            .line(&format!("{state:<5} {:<12} {what}", finding.subject));
        if !finding.next.is_empty() {
            let next = printable(&finding.next, LONGEST);
            context.out.line(&format!("{:<18} {next}", ""));
        }
    }
    for (hop, found) in report
        .differences
        .iter()
        .filter(|(_, d)| d.reason.is_none())
    {
        let (ours, theirs) = (
            printable(&found.ours, LONGEST),
            printable(&found.theirs, LONGEST),
        );
        context.out.line(&format!(
            "{:<18} {hop}: {} is {ours} here ({}), {theirs} for ssh",
            "", found.keyword, found.source
        ));
    }
    code
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Good => "ok",
        Health::Note => "note",
        Health::Bad => "bad",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_for_every_hop_is_said_once() {
        let agent = Finding::new("agent", Health::Note, "no agent");
        let key = Finding::new("key", Health::Good, "~/.ssh/id");
        let hops = vec![
            ("door".to_owned(), vec![agent.clone(), key]),
            ("desktop".to_owned(), vec![agent]),
        ];
        let said: Vec<String> = merge(hops)
            .into_iter()
            .map(|finding| finding.what)
            .collect();
        assert_eq!(said, ["no agent", "door: ~/.ssh/id"]);
    }

    #[test]
    fn only_what_is_bad_makes_a_bad_end() {
        let report = |health| Report {
            findings: vec![Finding::new("key", health, "x")],
            ..Report::default()
        };
        assert!(report(Health::Note).is_good());
        assert!(!report(Health::Bad).is_good());
    }
}
