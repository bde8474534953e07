//! What there is to choose from: the configuration, agents and models.

use super::super::table::{Row, free, missing};
use super::super::{gateway, person};
use super::{ALL, replay};

const DIFFERENCES: &[Row] = &[
    free(
        "config.get",
        &["/config", "/parsed", "/resolved"],
        "the configuration is the user's",
    ),
    missing(
        "models.list",
        &["/models/*/contextWindow"],
        "the built-in echo has no such limit",
    ),
    free(
        "config.schema",
        &["/schema", "/uiHints"],
        "our keys; the recorded ones were cut out",
    ),
];

#[tokio::test]
async fn configuration_agents_and_models_are_shown_as_recorded() {
    let gateway = gateway().await;
    let mut replay = replay("choices");
    let mut client = person(&gateway, 3, 1, ALL).await;
    replay.until(&mut client, None).await;
    replay.settle(&[DIFFERENCES]);
}
