//! While the far end refuses, one local connection asks again and the others hear what it heard: each
//! refused channel costs memory for as long as the SSH connection lives.

use std::future::Future;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::layer::{Layer, LayerError};

/// The pause between two tries while the far end refuses, and the longest one: nobody should wait longer
/// for a gateway that is there again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// The way to one far end.
#[derive(Debug, Default)]
pub(super) struct Gate {
    refused: watch::Sender<Option<Refusal>>,
    turn: Mutex<()>,
}

#[derive(Debug, Clone)]
struct Refusal {
    error: LayerError,
    at: Instant,
    pause: Duration,
    number: u64,
}

impl Gate {
    /// Opens a way with `open`, or hears what the one heard who asks for everybody. Cancel safe as far as
    /// `open` is.
    pub(super) async fn through<T, F>(&self, open: impl Fn() -> F) -> Result<T, LayerError>
    where
        F: Future<Output = Result<T, LayerError>>,
    {
        let mut news = self.refused.subscribe();
        let Some(before) = news.borrow_and_update().clone() else {
            return self.ask(&open).await;
        };
        let answered = |now: &Option<Refusal>| {
            now.as_ref()
                .is_none_or(|refusal| refusal.number != before.number)
        };
        let hearing = async {
            let heard = news.wait_for(answered).await;
            heard.ok().and_then(|now| now.clone())
        };
        tokio::select! {
            biased;
            heard = hearing => {
                if let Some(refusal) = heard {
                    return Err(refusal.error);
                }
            }
            _turn = self.turn.lock() => {
                tokio::time::sleep_until(before.at + before.pause).await;
                return self.ask(&open).await;
            }
        }
        self.ask(&open).await
    }

    async fn ask<T, F>(&self, open: &impl Fn() -> F) -> Result<T, LayerError>
    where
        F: Future<Output = Result<T, LayerError>>,
    {
        let outcome = open().await;
        match &outcome {
            Ok(_) => {
                self.refused
                    .send_if_modified(|known| known.take().is_some());
            }
            Err(error) if matches!(error.layer, Layer::Forward | Layer::Port) => {
                self.refused
                    .send_modify(|known| *known = Some(next(known, error)));
            }
            Err(_) => {}
        }
        outcome
    }
}

fn next(known: &Option<Refusal>, error: &LayerError) -> Refusal {
    let (pause, number) = match known {
        Some(before) => ((before.pause * 2).min(PAUSE.1), before.number + 1),
        None => (PAUSE.0, 0),
    };
    Refusal {
        error: error.clone(),
        at: Instant::now(),
        pause,
        number,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct FarEnd {
        asked: AtomicUsize,
        is_there: AtomicBool,
    }

    impl FarEnd {
        async fn open(&self) -> Result<(), LayerError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
            match self.is_there.load(Ordering::Relaxed) {
                true => Ok(()),
                false => Err(LayerError::new(Layer::Port, "nothing listens")),
            }
        }
    }

    async fn many(gate: &Arc<Gate>, far: &Arc<FarEnd>, count: usize) -> usize {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..count {
            let (gate, far) = (gate.clone(), far.clone());
            all.spawn(async move { gate.through(|| far.open()).await });
        }
        all.join_all()
            .await
            .into_iter()
            .filter(Result::is_ok)
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_far_end_refuses_one_asks_for_all_and_everybody_hears_when_it_is_back() {
        let (gate, far) = (Arc::new(Gate::default()), Arc::new(FarEnd::default()));
        assert_eq!(many(&gate, &far, 1).await, 0);
        for _ in 0..10 {
            assert_eq!(many(&gate, &far, 100).await, 0);
        }
        assert_eq!(far.asked.load(Ordering::Relaxed), 11);
        far.is_there.store(true, Ordering::Relaxed);
        assert_eq!(many(&gate, &far, 100).await, 100);
        assert_eq!(many(&gate, &far, 100).await, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn somebody_else_asks_when_the_one_who_did_goes_away() {
        let (gate, far) = (Arc::new(Gate::default()), Arc::new(FarEnd::default()));
        assert!(gate.through(|| far.open()).await.is_err());
        let (asking, place) = (gate.clone(), far.clone());
        let first = tokio::spawn(async move { asking.through(|| place.open()).await });
        tokio::task::yield_now().await;
        let (asking, place) = (gate.clone(), far.clone());
        let second = tokio::spawn(async move { asking.through(|| place.open()).await });
        tokio::task::yield_now().await;
        first.abort();
        far.is_there.store(true, Ordering::Relaxed);
        let heard = tokio::time::timeout(2 * PAUSE.1, second).await;
        assert!(heard.unwrap().unwrap().is_ok());
    }
}
