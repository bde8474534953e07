//! The whole app against a gateway behind a real SSH server, all inside this process.

use std::time::Duration;

use clawline::config::UiConfig;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::app::memory::{MemorySurface, Shown};
use crate::app::msg::Msg;
use crate::app::run::App;
use crate::cli::demo::World;
use crate::start::AppStart;
use crate::theme::Theme;

const DEADLINE: Duration = Duration::from_secs(60);

struct Seat {
    keys: mpsc::Sender<Msg>,
    screen: watch::Receiver<Shown>,
    _app: AbortOnDropHandle<()>,
}

impl Seat {
    fn at(world: &World) -> Self {
        let connector = world.connector().expect("connector");
        let start = AppStart {
            link: Some(world.request().expect("request")),
            connector,
            session: None,
            agent: None,
            message: None,
            ui: UiConfig::default(),
            notes: Vec::new(),
        };
        let (keys, input) = mpsc::channel(64);
        let (shown, screen) = watch::channel(Shown::default());
        let surface = MemorySurface::new(110, 40, input, shown);
        let mut app = App::new(start, Theme::new(false, false), surface).expect("app");
        let task = tokio::spawn(async move { app.run().await.expect("the app runs") });
        Self {
            keys,
            screen,
            _app: AbortOnDropHandle::new(task),
        }
    }

    async fn until(&mut self, what: &str, is_there: impl FnMut(&Shown) -> bool) -> String {
        let waited = tokio::time::timeout(DEADLINE, self.screen.wait_for(is_there)).await;
        let seen = waited.is_ok_and(|seen| seen.is_ok());
        let text = self.screen.borrow().text.clone();
        assert!(seen, "{what} never came; the screen:\n{text}");
        text
    }

    async fn text(&mut self, text: &str) -> String {
        self.until(text, |shown| shown.text.contains(text)).await
    }

    async fn settled(&mut self) -> String {
        self.until("a settled chat", |shown| shown.is_settled).await
    }

    async fn press(&self, code: KeyCode, modifiers: KeyModifiers) {
        self.keys
            .send(Msg::Key(KeyEvent::new(code, modifiers)))
            .await
            .expect("key");
    }

    async fn say(&self, text: &str) {
        self.keys
            .send(Msg::Paste(text.to_owned()))
            .await
            .expect("paste");
        self.press(KeyCode::Enter, KeyModifiers::NONE).await;
    }
}

#[tokio::test]
async fn a_connection_killed_in_mid_answer_leaves_a_transcript_that_is_complete_once() {
    let world = World::start().await.expect("world");
    let mut seat = Seat::at(&world);
    seat.settled().await;
    let words: Vec<String> = (1..=60).map(|i| format!("w{i:02}")).collect();
    seat.say(&words.join(" ")).await;
    // Twice: in the question and, growing, in the answer.
    seat.until("a growing answer", |shown| {
        shown.text.matches("w05").count() == 2
    })
    .await;
    world.ssh.kill_connections();
    seat.text("link lost").await;
    seat.text("link back").await;
    let screen = seat.settled().await;
    for word in &words {
        assert_eq!(
            screen.matches(word.as_str()).count(),
            2,
            "{word} in\n{screen}"
        );
    }
    assert_eq!(screen.matches(" you ").count(), 1, "{screen}");
    world.stop().await;
}

#[tokio::test]
async fn what_is_typed_while_the_link_is_down_goes_out_once_when_it_is_back() {
    let world = World::start().await.expect("world");
    let mut seat = Seat::at(&world);
    seat.settled().await;
    world.ssh.kill_connections();
    seat.say("typed in the dark").await;
    let screen = seat
        .until("the echo", |shown| {
            shown.is_settled && shown.text.matches("typed in the dark").count() >= 2
        })
        .await;
    assert_eq!(screen.matches("typed in the dark").count(), 2, "{screen}");
    world.stop().await;
}
