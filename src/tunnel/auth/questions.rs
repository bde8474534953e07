//! Signing in with the server's own questions, in as many rounds as it likes.

use russh::MethodKind;
use russh::client::KeyboardInteractiveAuthResponse;

use crate::layer::{Layer, LayerError, Retry, printable};
use crate::secret::Secret;
use crate::tunnel::prompt::{Answer, Prompt};

use super::spent::Spent;
use super::{Answered, SignIn, Step, answer};

/// A server that asks more rounds than this asks for ever.
const MAX_ROUNDS: usize = 20;
/// No person answers more questions than this at once.
const MAX_QUESTIONS: usize = 32;
/// How much of a server's question is shown.
const QUESTION_CHARS: usize = 400;

impl SignIn<'_> {
    /// Keyboard-interactive.
    pub(super) async fn with_questions(&mut self) -> Result<Step, LayerError> {
        if !self.person.is_there() {
            // Once begun, russh leaves this method only by an answer or the end of the connection.
            self.note("the server has questions and nobody can be asked".into());
            return Ok(Step::Refused);
        }
        for _ in 0..self.hop.password_prompts {
            let user = self.hop.user.clone();
            // Some servers ask nothing and call the person's phone.
            self.spend(Spent::Answers);
            let start = self
                .handle
                .authenticate_keyboard_interactive_start(user, None::<String>);
            let first = answer(&self.person.asker, self.spent, start).await;
            let (step, asked) = self.answer_rounds(first).await?;
            match step {
                Step::Refused
                    if asked && self.allowed.contains(&MethodKind::KeyboardInteractive) => {}
                Step::Refused => return Ok(Step::Refused),
                Step::In(_) => {
                    self.by_person = true;
                    return Ok(Step::In("keyboard-interactive".into()));
                }
                Step::Partial => {
                    self.by_person = true;
                    return Ok(Step::Partial);
                }
            }
        }
        Ok(Step::Refused)
    }

    /// Answers rounds until the server decides; also whether it asked anything.
    async fn answer_rounds(
        &mut self,
        mut reply: Answered<KeyboardInteractiveAuthResponse>,
    ) -> Result<(Step, bool), LayerError> {
        let mut asked = false;
        for _ in 0..MAX_ROUNDS {
            let (name, instructions, prompts) = match reply {
                Answered::Answer(KeyboardInteractiveAuthResponse::InfoRequest {
                    name,
                    instructions,
                    prompts,
                }) => (name, instructions, prompts),
                Answered::Answer(KeyboardInteractiveAuthResponse::Success) => {
                    return Ok((Step::In(String::new()), asked));
                }
                Answered::Answer(KeyboardInteractiveAuthResponse::Failure {
                    remaining_methods,
                    partial_success,
                }) => {
                    if asked {
                        self.tried("keyboard-interactive");
                    }
                    let step = self.judge_failure(remaining_methods, partial_success)?;
                    return Ok((step, asked));
                }
                Answered::Lost => return Err(self.lost()),
                Answered::Silent => return Err(self.silent()),
            };
            if prompts.len() > MAX_QUESTIONS {
                let what = format!(
                    "{} asks {} questions at once",
                    self.hop.alias,
                    prompts.len()
                );
                return Err(self.error(what).retry(Retry::Attention));
            }
            let answers = if prompts.is_empty() {
                // Often the news that a phone is being called.
                let said = printable(&format!("{name} {instructions}"), QUESTION_CHARS);
                if !said.trim().is_empty() {
                    self.report.busy(Layer::SignIn, said.trim());
                }
                Vec::new()
            } else {
                asked = true;
                let questions = prompts
                    .iter()
                    .map(|prompt| (printable(&prompt.prompt, QUESTION_CHARS), prompt.echo))
                    .collect();
                self.ask_round(&name, &instructions, questions).await?
            };
            self.expect_decision();
            let answers = answers
                .iter()
                .map(|text| text.expose().to_owned())
                .collect();
            let respond = self
                .handle
                .authenticate_keyboard_interactive_respond(answers);
            reply = answer(&self.person.asker, self.spent, respond).await;
        }
        Err(self
            .error(format!("{} asks questions without end", self.hop.alias))
            .retry(Retry::Attention))
    }

    /// The person's answers to one round, one text a question.
    async fn ask_round(
        &mut self,
        name: &str,
        instructions: &str,
        questions: Vec<(String, bool)>,
    ) -> Result<Vec<Secret>, LayerError> {
        let count = questions.len();
        let prompt = Prompt::KeyboardInteractive {
            login: self.login(),
            name: printable(name, QUESTION_CHARS),
            instructions: printable(instructions, QUESTION_CHARS),
            questions,
        };
        self.show_banner();
        match self.person.ask(prompt).await {
            Ok(Answer::Texts(texts)) if texts.len() == count => Ok(texts),
            Ok(Answer::Secret(text)) if count == 1 => Ok(vec![text]),
            Ok(_) => Err(self.cancelled()),
            Err(_) => Err(self.hung_up()),
        }
    }
}
