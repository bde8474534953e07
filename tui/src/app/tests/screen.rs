//! What the screen shows, at a wide, a narrow and a tiny size.

use clawline::layer::{Layer, LayerError, LayerRows, Retry, RowState};
use clawline::tunnel::prompt::Prompt;
use clawline::tunnel::status::TunnelStatus;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use serde_json::json;

use super::world::{SESSION, START_MS, World};
use crate::app::msg::{Done, Msg};
use crate::app::prompt::PromptId;
use crate::panes::link::state::LinkState;
use crate::theme::Theme;

const WIDE: (u16, u16) = (110, 30);
const NARROW: (u16, u16) = (80, 24);
const SMALL: (u16, u16) = (40, 12);

fn sessions(world: &mut World) {
    let reply = serde_json::from_value(json!({"count":4,"sessions":[
        {"key":SESSION,"updatedAt":START_MS,"model":"claude-sonnet","totalTokens":12_000,"contextTokens":200_000},
        {"key":"agent:main:research","updatedAt":START_MS-180_000},
        {"key":"agent:main:telegram-ana","displayName":"telegram ana","updatedAt":START_MS-3_600_000,"unread":true},
        {"key":"agent:main:nightly","updatedAt":START_MS-21_600_000},
    ]}))
    .expect("sessions");
    world.done(Done::Sessions(Ok(Box::new(reply))));
}

fn busy() -> World {
    let mut world = World::linked();
    sessions(&mut world);
    let health = serde_json::from_value(json!({"ok":true,"sessions":{"count":4}})).expect("health");
    world.done(Done::Health(
        Ok(Box::new(health)),
        std::time::Duration::from_millis(28),
    ));
    world.say("what is eating the disk at home?");
    world.sent("key-1");
    world.event("agent", json!({"runId":"key-1","sessionKey":SESSION,"stream":"tool","data":{"phase":"start","name":"exec","toolCallId":"c1","args":{"command":"du -xh / | sort -h"}}}));
    world.pass(std::time::Duration::from_millis(2100));
    world.event("agent", json!({"runId":"key-1","sessionKey":SESSION,"stream":"tool","data":{"phase":"result","toolCallId":"c1","isError":false,"result":"81G\t/var/lib/docker"}}));
    world.delta("key-1", 5, "`/var/lib/docker` holds **81 GB**, most of it in dangling layers. Two ways:\n\n1. prune what nothing uses\n2. move the directory");
    world
}

fn long() -> World {
    let mut world = World::linked();
    sessions(&mut world);
    let text = "# Report\n\nA \u{1b}[31mred\u{1b}[0m word, a \u{202e}turned one, 日本語のテキスト and 👨‍👩‍👧.\n\n```sh\ndocker system df --verbose | awk '{print $1, $2, $3, $4}' | sort --human-numeric-sort --reverse\n```\n\n| what | size |\n|---|--:|\n| images | 61 GB |\n| volumes | 20 GB |\n\n> quoted words\n\nSee [the manual](https://docs.example/prune).";
    world.page(crate::app::msg::Reading::Newest, json!([
        {"role":"user","content":"first\nsecond line of the same message","timestamp":START_MS-600_000,"__openclaw":{"id":"m1","seq":1}},
        {"role":"assistant","content":text,"timestamp":START_MS-590_000,"__openclaw":{"id":"m2","seq":2,"runId":"r"}},
        {"role":"system","content":"Reset","timestamp":START_MS-500_000,"__openclaw":{"id":"m3","seq":3}},
    ]));
    world
}

fn failed() -> World {
    let mut world = busy();
    world.disconnect();
    world.say("and the logs?");
    world
}

#[test]
fn empty() {
    for (name, size) in [("wide", WIDE), ("narrow", NARROW), ("small", SMALL)] {
        let mut world = World::offline();
        insta::assert_snapshot!(format!("connecting_{name}"), world.screen(size.0, size.1));
        let mut world = World::linked();
        insta::assert_snapshot!(format!("empty_{name}"), world.screen(size.0, size.1));
    }
}

#[test]
fn a_running_answer() {
    for (name, size) in [("wide", WIDE), ("narrow", NARROW), ("small", SMALL)] {
        insta::assert_snapshot!(format!("busy_{name}"), busy().screen(size.0, size.1));
    }
}

#[test]
fn tool_results_open() {
    let mut world = busy();
    world.ctrl('o');
    insta::assert_snapshot!("busy_expanded", world.screen(80, 24));
}

#[test]
fn a_lost_link() {
    for (name, size) in [("wide", WIDE), ("narrow", NARROW), ("small", SMALL)] {
        insta::assert_snapshot!(format!("failed_{name}"), failed().screen(size.0, size.1));
    }
}

#[test]
fn long_content() {
    for (name, size) in [("wide", WIDE), ("narrow", NARROW), ("small", SMALL)] {
        insta::assert_snapshot!(format!("long_{name}"), long().screen(size.0, size.1));
    }
}

#[test]
fn too_small_is_one_sentence() {
    insta::assert_snapshot!("tiny", busy().screen(30, 8));
}

#[test]
fn pages() {
    let mut world = busy();
    world.ctrl('t');
    insta::assert_snapshot!("link_up", world.screen(80, 24));
    let mut world = failed();
    world.ctrl('t');
    insta::assert_snapshot!("link_down", world.screen(80, 24));
    let mut world = busy();
    world.press(KeyCode::F(1), KeyModifiers::NONE);
    insta::assert_snapshot!("help_narrow", world.screen(80, 24));
    insta::assert_snapshot!("help_tall", world.screen(80, 90));
    let mut world = busy();
    world.press(KeyCode::F(2), KeyModifiers::NONE);
    insta::assert_snapshot!("health", world.screen(80, 24));
}

#[test]
fn trouble_that_needs_a_person() {
    let shown = |why: LayerError, request: Option<&str>| {
        let mut world = World::offline();
        let mut rows = LayerRows::default();
        rows.set(Layer::Dns, RowState::Ok, None, "desktop → 203.0.113.7");
        rows.fail(&why);
        world.send(Msg::Link(Box::new(LinkState {
            status: TunnelStatus::Attention { why },
            rows,
            pairing_request: request.map(str::to_owned),
            ..LinkState::new("home".into(), "me@desktop".into())
        })));
        world.screen(80, 24)
    };
    let why = LayerError::new(Layer::Pairing, "the gateway does not know this laptop yet")
        .peer("pairing required")
        .retry(Retry::Attention);
    insta::assert_snapshot!(
        "pairing",
        shown(why, Some("6c1f0b52-2b7e-4a53-9d2f-6f0f5a1e7c11"))
    );
    let why = LayerError::new(
        Layer::HostKey,
        "the host key of desktop changed: known_hosts line 12 has ed25519 SHA256:6ssET1Dm, it shows SHA256:9fQk2LxB",
    )
    .next("if you expected this, remove line 12 of /home/me/.ssh/known_hosts")
    .retry(Retry::Never);
    insta::assert_snapshot!("host_key_changed", shown(why, None));
}

#[test]
fn pickers_and_completion() {
    let mut world = busy();
    world.ctrl('p');
    insta::assert_snapshot!("picker_sessions", world.screen(80, 24));
    world.type_text("ana");
    insta::assert_snapshot!("picker_filtered", world.screen(110, 30));
    let mut world = busy();
    world.ctrl('k');
    insta::assert_snapshot!("palette", world.screen(80, 24));
    let mut world = busy();
    world.type_text("/re");
    insta::assert_snapshot!("completion", world.screen(80, 24));
}

#[test]
fn questions() {
    let mut world = World::offline();
    let art = "+--[ED25519 256]--+\n|        .o.      |\n|       . o.      |\n|      . . .o     |\n|     . o  o .    |\n|    . = S.       |\n|   . B o.        |\n|  . = B...       |\n|   o.*o==.       |\n|  .o+EB*=+       |\n+----[SHA256]-----+";
    let prompt = Prompt::UnknownHostKey {
        host: "desktop".into(),
        address: "203.0.113.7:22".into(),
        algorithm: "ssh-ed25519".into(),
        fingerprint: "SHA256:6ssET1DmQ2bXU3vMhTn1cYJ8p0m9Fz5dQxw7r2LkV4E".into(),
        randomart: art.into(),
        note: String::new(),
    };
    world.send(Msg::Question(PromptId(1), prompt));
    for (name, size) in [("wide", WIDE), ("narrow", NARROW), ("small", SMALL)] {
        insta::assert_snapshot!(format!("host_key_{name}"), world.screen(size.0, size.1));
    }
    let mut world = World::offline();
    let prompt = Prompt::Passphrase {
        path: "/home/me/.ssh/id_ed25519".into(),
        attempt: 2,
    };
    world.send(Msg::Question(PromptId(2), prompt));
    world.type_text("secret");
    let screen = world.screen(80, 24);
    assert!(!screen.contains("secret"));
    insta::assert_snapshot!("passphrase", screen);
}

#[test]
fn plain_has_no_drawing_characters() {
    let mut world = World::with(Theme::new(true, true));
    world.link_up();
    world.connect(true);
    world.history(json!([]));
    sessions(&mut world);
    world.say("hello");
    world.sent("key-1");
    world.delta("key-1", 1, "- a list\n\n> and a quote");
    let screen = world.screen(110, 30);
    assert!(screen.is_ascii(), "{screen}");
}

#[test]
fn every_way_the_screen_looks_without_a_link_names_the_layer() {
    let mut world = World::offline();
    world.link_down();
    let screen = world.screen(110, 30);
    let line = screen.lines().next().unwrap_or_default();
    for words in [
        "no link",
        "SSH: connection reset by peer",
        "again in 3 s (2nd try)",
        "Ctrl+R now",
    ] {
        assert!(line.contains(words), "{words} in {line}");
    }
}
