//! `agents.list`, `models.list`, `commands.list`: what there is to choose from.

use clawline::protocol::methods::agents::{
    AgentIdentityGet, AgentRow, AgentsList, AgentsListReply, CommandsList, CommandsListReply,
    ModelRow, ModelsList, ModelsListReply,
};
use clawline::protocol::methods::chat::ChatMetadataReply;
use serde_json::{Map, Value, json};

use super::{Call, Failure, Table, slash};
use crate::runs::{AgentInfo, ModelInfo};
use crate::sessions::MAIN_SESSION;
use crate::state::App;

/// Levels of thinking that a model which reasons can be asked for.
const THINKING: [&str; 5] = ["off", "minimal", "low", "medium", "high"];

pub(crate) fn rows(table: Table) -> Table {
    table
        .on::<AgentsList, _>(agents_list)
        .on::<AgentIdentityGet, _>(identity)
        .on::<ModelsList, _>(models_list)
        .on::<CommandsList, _>(commands_list)
}

async fn agents_list(app: App, _: Call<AgentsList>) -> Result<AgentsListReply, Failure> {
    let models = app.runs.models();
    let mut more = Map::new();
    more.insert("ownership".into(), json!("sole"));
    more.insert("selectionRequired".into(), json!(false));
    Ok(AgentsListReply {
        default_id: models.default_agent().to_string(),
        main_key: MAIN_SESSION.to_owned(),
        scope: "per-sender".to_owned(),
        agents: models
            .agents()
            .iter()
            .map(|info| agent(&app, info))
            .collect(),
        more,
    })
}

fn agent(app: &App, info: &AgentInfo) -> AgentRow {
    let models = app.runs.models();
    let (provider, model) = models.resolve(None, info.id.as_str());
    let reasons = models
        .list()
        .iter()
        .any(|known| known.provider == provider && known.id == model && known.reasoning);
    let mut more = Map::new();
    more.insert(
        "model".into(),
        json!({"primary": format!("{provider}/{model}")}),
    );
    more.extend(thinking(reasons));
    AgentRow {
        id: info.id.to_string(),
        name: info.name.clone(),
        more,
    }
}

fn thinking(reasons: bool) -> Map<String, Value> {
    let levels: &[&str] = if reasons { &THINKING } else { &THINKING[..1] };
    let shown: Vec<Value> = levels
        .iter()
        .map(|level| json!({"id": level, "label": level}))
        .collect();
    let mut members = Map::new();
    members.insert("thinkingLevels".into(), json!(shown));
    members.insert("thinkingOptions".into(), json!(levels));
    members.insert("thinkingDefault".into(), json!("off"));
    members
}

async fn identity(app: App, call: Call<AgentIdentityGet>) -> Result<Value, Failure> {
    let text = |name: &str| call.params.get(name).and_then(Value::as_str);
    let named = match (text("agentId"), text("sessionKey")) {
        (Some(id), _) => id.to_owned(),
        (None, Some(key)) => app.session_key(key)?.agent_id().to_owned(),
        (None, None) => app.sessions.default_agent().to_string(),
    };
    app.known_agent(&named, "agent.identity.get")?;
    let agents = app.runs.models().agents();
    let info = agents.iter().find(|info| info.id.as_str() == named);
    let name = info.and_then(|info| info.name.clone());
    let source = if name.is_some() { "config" } else { "default" };
    let name = name.unwrap_or_else(|| "Assistant".to_owned());
    let avatar: String = name.chars().take(1).collect();
    Ok(json!({
        "agentId": named, "name": name, "nameSource": source, "avatar": avatar,
    }))
}

async fn models_list(app: App, _: Call<ModelsList>) -> Result<ModelsListReply, Failure> {
    let models = app.runs.models().list();
    Ok(ModelsListReply {
        models: models.into_iter().map(model).collect(),
    })
}

fn model(info: ModelInfo) -> ModelRow {
    let mut more = thinking(info.reasoning);
    more.remove("thinkingOptions");
    let tags: &[&str] = if info.is_default { &["default"] } else { &[] };
    more.insert("tags".into(), json!(tags));
    more.insert("available".into(), json!(true));
    more.insert("input".into(), json!(["text"]));
    ModelRow {
        id: info.id,
        name: info.name,
        provider: info.provider,
        context_window: info.context_window.and_then(|n| u64::try_from(n).ok()),
        reasoning: Some(info.reasoning),
        more,
    }
}

async fn commands_list(_: App, call: Call<CommandsList>) -> Result<CommandsListReply, Failure> {
    let with_args = call.params.get("includeArgs") != Some(&Value::Bool(false));
    Ok(CommandsListReply {
        commands: slash::listed(with_args),
    })
}

/// What there is to choose from in a session.
pub(super) fn metadata(app: &App) -> ChatMetadataReply {
    let models = app.runs.models().list();
    ChatMetadataReply {
        models: models.into_iter().map(model).collect(),
        commands: slash::listed(true),
        swarm_enabled: false,
    }
}
