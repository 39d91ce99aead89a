//! The follower that runs the rules.

use std::sync::Arc;

use async_trait::async_trait;
use feedkit_core::follower::{Follower, FollowerPosition, Scope};
use feedkit_core::history::History;
use feedkit_core::journal::JournalEntry;
use feedkit_core::lease::Lease;
use feedkit_core::{AlertLog, Clock, ErrorKind, Offset, Partition, Result};
use tokio::sync::{Mutex, Notify};

use crate::RuleSet;
use crate::align::Reach;
use crate::engine::Rules;
use crate::lease::{Tenure, not_held};
use crate::options::AlertOptions;
use crate::recovery::{Outcome, Sources};
use crate::signals::Signals;
use crate::step::{StepContext, Work};

/// Runs alert rules over the journal of all partitions, and stores what they raise exactly once.
///
/// At most one follower works at a time: the one that holds the alert log's lease. The others stand
/// by. They try to get the lease each time [`position`](Follower::position) is called.
///
/// # Steps
///
/// Entries arrive partition by partition. During a catch-up, the partitions may be far apart in
/// event time. So an entry waits until the other partitions have reached its event time or have no
/// more entries. It does not wait longer than [`AlertOptions::max_hold`], and at most
/// [`AlertOptions::max_pending`] effects wait. Then the rules run over the effects, ordered by
/// time, in one *step*, or in several if there are many effects.
///
/// A step is one transaction of the alert log. It moves the positions, stores the alerts, and
/// records the offsets that were consumed. Entries that are not part of a step yet are in memory
/// only: `apply` returns the offset after them, and `position` the offset that is stored.
///
/// # Recovery
///
/// The next owner of the lease loads the last snapshot and runs the recorded steps again. The
/// rules' states, and all later alerts, are the same as without the interruption.
///
/// If the journal no longer reaches back to the last snapshot, the follower is rebuilt from the
/// history's totals: see [`AlertRule::rebuild`](feedkit_core::AlertRule::rebuild).
///
/// # Cancellation
///
/// After a call is dropped, the follower recovers at the next call of `position`.
pub struct AlertFollower<L, H> {
    log: L,
    history: H,
    set: RuleSet,
    clock: Arc<dyn Clock>,
    options: AlertOptions,
    state: Mutex<State>,
    signals: Signals,
}

struct State {
    tenure: Tenure,
    /// Each call takes the work out, and puts it back if the outcome is known. So a call that is
    /// dropped or fails leaves no state that differs from the alert log.
    work: Option<Box<Work>>,
    rebuild: Option<String>,
}

impl<L: AlertLog, H: History> AlertFollower<L, H> {
    /// Makes a follower. It asks for the lease when its position is read.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) if two rules have the same name, or if a rule's state is too
    /// large.
    pub fn new(
        log: L,
        history: H,
        set: RuleSet,
        clock: Arc<dyn Clock>,
        options: AlertOptions,
    ) -> Result<Self> {
        Rules::new(&set, &options.limits())?;
        let tenure = Tenure::new(options.owner.clone(), options.lease_ttl);
        let signals = Signals { lease: tenure.watch(), written: Arc::new(Notify::new()) };
        let state = Mutex::new(State { tenure, work: None, rebuild: None });
        Ok(AlertFollower { log, history, set, clock, options, state, signals })
    }

    /// Tells a [`Relay`](crate::Relay) whether this follower holds the lease, and when it has
    /// written alerts.
    pub fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// Makes a call on the work, and puts the work back if the outcome is known.
    async fn with_work(&self, state: &mut State, call: Call) -> Result<()> {
        let mut work = state.work.take().ok_or_else(not_held)?;
        let result = self.call(&mut work, &mut state.tenure, call).await;
        match &result {
            Err(e) if e.kind() == ErrorKind::Fenced => state.tenure.lost(),
            Ok(()) => state.work = Some(work),
            Err(e) if e.is_retriable() => state.work = Some(work),
            Err(_) => {}
        }
        // After any other error, the log may not be as the work expects, so the follower must
        // recover.
        result
    }

    async fn call(&self, work: &mut Work, tenure: &mut Tenure, call: Call) -> Result<()> {
        let context = StepContext {
            log: &self.log,
            clock: &*self.clock,
            options: &self.options,
            on_alerts: &|| self.signals.written.notify_one(),
        };
        match call {
            Call::Advance => {
                work.advance(&context, tenure, Reach::Frontier).await?;
                work.release_held(&context, tenure).await
            }
            Call::Finish => {
                work.advance(&context, tenure, Reach::Everything).await?;
                let lease = tenure.renewed(&self.log, &*self.clock).await?;
                work.snapshot(&context, &lease).await
            }
        }
    }

    /// Gets the lease and recovers, unless that is done already. Returns `None` while another
    /// process holds the lease.
    async fn take_over(&self, state: &mut State) -> Result<Option<()>> {
        if state.work.is_some() || state.rebuild.is_some() {
            return Ok(Some(()));
        }
        let Some(lease) = state.tenure.acquire(&self.log, &*self.clock).await? else { return Ok(None) };
        match self.sources(&self.history).recover(&lease).await {
            Ok(Outcome::Work(work)) => state.work = Some(work),
            Ok(Outcome::Rebuild(reason)) => state.rebuild = Some(reason),
            Err(e) if e.kind() == ErrorKind::Fenced => {
                state.tenure.lost();
                return Ok(None);
            }
            Err(e) => return Err(e.context("could not recover the alerts")),
        }
        Ok(Some(()))
    }

    fn sources<'a, G: History + ?Sized>(&'a self, history: &'a G) -> Sources<'a, L, G> {
        let AlertFollower { log, set, options, clock, .. } = self;
        Sources { log, history, set, options, clock: &**clock }
    }

    async fn lease(&self, state: &mut State) -> Result<Lease> {
        match state.tenure.lease() {
            Some(_) => state.tenure.renewed(&self.log, &*self.clock).await,
            None => state.tenure.acquire(&self.log, &*self.clock).await?.ok_or_else(not_held),
        }
    }
}

/// What to do with the work.
enum Call {
    /// Run the steps that are due.
    Advance,
    /// Run all steps and take a snapshot.
    Finish,
}

#[async_trait]
impl<L: AlertLog, H: History> Follower for AlertFollower<L, H> {
    fn name(&self) -> &str {
        "alerts"
    }

    fn scope(&self) -> Scope {
        Scope::All
    }

    async fn position(&self, partition: Partition) -> Result<FollowerPosition> {
        let mut state = self.state.lock().await;
        if self.take_over(&mut state).await?.is_none() {
            return Ok(FollowerPosition::Standby);
        }
        if let Some(work) = &mut state.work {
            work.align.add_partition(partition, self.clock.now());
        }
        Ok(match (&state.work, &state.rebuild) {
            (_, Some(reason)) => FollowerPosition::Rebuild(reason.clone()),
            (Some(work), None) => FollowerPosition::At(work.positions.of(partition)),
            (None, None) => FollowerPosition::Standby,
        })
    }

    async fn apply(&self, partition: Partition, entries: &[Arc<JournalEntry>]) -> Result<Offset> {
        let taken = {
            let mut state = self.state.lock().await;
            let work = state.work.as_mut().ok_or_else(not_held)?;
            work.align.push(partition, entries, self.clock.now())?
        };
        // Entries that arrive at the same moment for other partitions join the same step.
        tokio::task::yield_now().await;
        let mut state = self.state.lock().await;
        self.with_work(&mut state, Call::Advance).await?;
        Ok(taken)
    }

    async fn rebuild(&self, history: &dyn History) -> Result<()> {
        let mut state = self.state.lock().await;
        state.work = None;
        let work = match self.lease(&mut state).await {
            Ok(lease) => self.sources(history).rebuild(&lease).await,
            Err(e) => Err(e),
        };
        match work {
            Ok(work) => {
                (state.work, state.rebuild) = (Some(Box::new(work)), None);
                self.signals.written.notify_one();
                Ok(())
            }
            Err(e) => {
                if e.kind() == ErrorKind::Fenced {
                    state.tenure.lost();
                    state.rebuild = None;
                }
                Err(e.context("could not rebuild the alerts"))
            }
        }
    }

    async fn tick(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        match state.work {
            Some(_) => self.with_work(&mut state, Call::Advance).await,
            None => Ok(()),
        }
    }

    async fn close(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        let result = match state.work {
            Some(_) => self.with_work(&mut state, Call::Finish).await,
            None => Ok(()),
        };
        state.work = None;
        // The lease is given back even if a write failed: another process may succeed.
        match (result, state.tenure.release(&self.log).await) {
            (Ok(()), Err(e)) if e.kind() != ErrorKind::Fenced => Err(e),
            (result, _) => result,
        }
    }
}
