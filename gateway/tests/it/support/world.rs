//! A gateway in a temporary directory on a free port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use clawline_gateway::auth::PeerLookup;
use clawline_gateway::policy::Policy;
use clawline_gateway::reload::Source;
use clawline_gateway::settings::GatewaySettings;
use clawline_gateway::{Broken, Gateway};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::log;

/// The user id that fake gateways have.
pub const OWN_UID: u32 = 4000;
/// How many times as long as outside tests a peer may take: both ends of its connection are on one thread of
/// a machine that may have little time for it.
const PATIENCE: u32 = 30;
/// "The kernel does not tell."
const UNKNOWN: u32 = u32::MAX;

/// Says that every peer is the same user, whoever it really is.
pub struct FakePeers(AtomicU32);

impl FakePeers {
    pub fn own() -> Arc<Self> {
        Arc::new(Self(AtomicU32::new(OWN_UID)))
    }

    /// From now on peers are this user.
    pub fn become_user(&self, uid: u32) {
        self.0.store(uid, Ordering::SeqCst);
    }

    /// From now on nobody knows who peers are.
    pub fn become_unknown(&self) {
        self.become_user(UNKNOWN);
    }
}

impl PeerLookup for FakePeers {
    fn uid(&self, _: SocketAddr, _: SocketAddr) -> Option<u32> {
        Some(self.0.load(Ordering::SeqCst)).filter(|uid| *uid != UNKNOWN)
    }

    fn own(&self) -> u32 {
        OWN_UID
    }
}

fn patient(mut policy: Policy) -> Policy {
    policy.patience = PATIENCE;
    policy
}

pub struct TestGateway {
    pub address: SocketAddr,
    pub secret: String,
    pub peers: Arc<FakePeers>,
    pub settings: GatewaySettings,
    policy: Policy,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Broken>>,
    home: Arc<tempfile::TempDir>,
}

impl TestGateway {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut GatewaySettings)) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let mut settings = GatewaySettings::new(home.path().join("state"));
        settings.config.path = home.path().join("clawline.json5");
        change(&mut settings);
        Self::start_in(home, settings).await
    }

    /// One that makes only the checks of this policy: to show that a test of an attack can fail.
    pub async fn start_under(policy: Policy, change: impl FnOnce(&mut GatewaySettings)) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let mut settings = GatewaySettings::new(home.path().join("clawline-gateway"));
        change(&mut settings);
        Self::start_in_under(home, settings, patient(policy)).await
    }

    /// One that keeps its deadlines to the second, as the program does: for tests of these.
    pub async fn start_punctual(policy: Policy) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let settings = GatewaySettings::new(home.path().join("clawline-gateway"));
        Self::start_in_under(home, settings, policy).await
    }

    /// Why a gateway with such settings does not start.
    pub async fn refused_to_start(
        policy: Policy,
        change: impl FnOnce(&mut GatewaySettings),
    ) -> String {
        let home = tempfile::tempdir().unwrap();
        let mut settings = GatewaySettings::new(home.path().join("clawline-gateway"));
        change(&mut settings);
        match Gateway::bind_with_policy(settings, FakePeers::own(), policy).await {
            Ok(_) => panic!("it started"),
            Err(error) => error.to_string(),
        }
    }

    /// In a state directory of this name, as the program itself would choose it.
    pub async fn start_at(name: &str) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let settings = GatewaySettings::new(home.path().join(name));
        Self::start_in(home, settings).await
    }

    async fn start_in(home: Arc<tempfile::TempDir>, settings: GatewaySettings) -> Self {
        Self::start_in_under(home, settings, patient(Policy::default())).await
    }

    async fn start_in_under(
        home: Arc<tempfile::TempDir>,
        settings: GatewaySettings,
        policy: Policy,
    ) -> Self {
        Self::start_from(home, settings, policy, None).await
    }

    async fn start_from(
        home: Arc<tempfile::TempDir>,
        settings: GatewaySettings,
        policy: Policy,
        source: Option<Source>,
    ) -> Self {
        log();
        let peers = FakePeers::own();
        let gateway = Gateway::bind_with_policy(settings.clone(), peers.clone(), policy.clone())
            .await
            .unwrap();
        let gateway = match source {
            Some(source) => gateway.with_reload(source),
            None => gateway,
        };
        let address = gateway.local_addr();
        let secret = gateway.secret().expose().to_owned();
        let stop = CancellationToken::new();
        let task = tokio::spawn(gateway.run(stop.clone()));
        Self {
            address,
            secret,
            peers,
            settings,
            policy,
            stop,
            task,
            home,
        }
    }

    /// What was checked, and how.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// One whose config file is checked as a start would check what `draft` makes of a text.
    pub async fn start_drafting(
        policy: Policy,
        draft: impl Fn(&str, GatewaySettings) -> GatewaySettings + Send + Sync + 'static,
    ) -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let mut settings = GatewaySettings::new(home.path().join("clawline-gateway"));
        settings.config.path = home.path().join("clawline.json5");
        let (now, base) = (settings.clone(), settings.clone());
        let source = Source::new(Vec::new(), move || Ok(now.clone()))
            .with_drafts(move |text| Ok(draft(text, base.clone())));
        Self::start_from(home, settings, patient(policy), Some(source)).await
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Stops it and keeps its state; everything but [`TestGateway::resume`] and the paths is void.
    pub async fn pause(mut self) -> Self {
        self.stop.cancel();
        (&mut self.task).await.unwrap().unwrap();
        self
    }

    /// Starts a paused one again.
    pub async fn resume(self) -> Self {
        Self::start_in_under(
            self.home.clone(),
            self.settings.clone(),
            self.policy.clone(),
        )
        .await
    }

    /// Stops it and starts it again over the same state.
    pub async fn restart(self) -> Self {
        let (home, settings) = (self.home.clone(), self.settings.clone());
        let policy = self.policy.clone();
        self.stop().await;
        Self::start_in_under(home, settings, policy).await
    }
}
