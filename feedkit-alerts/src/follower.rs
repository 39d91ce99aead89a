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
use crate::options::{AlertOptions, Signals};
use crate::recovery::{Outcome, Sources};
use crate::step::{Desk, Work};

/// Runs alert rules over the journal of all partitions, and keeps what they raise exactly once.
///
/// At most one follower is at work: the one that holds the alert log's lease. The others stand by, and try to get
/// the lease each time [`position`](Follower::position) is asked.
///
/// Entries come partition by partition and may be far apart in event time when catching up. They wait until the
/// other partitions have come as far, or have nothing more, or [`AlertOptions::max_hold`] or
/// [`AlertOptions::max_pending`] is exceeded; then they are handed to the rules, ordered by time, in one *step*, or
/// several where they are many.
/// A step is one transaction of the alert log: it moves the positions, keeps the alerts, and records what was
/// consumed. Whoever takes over loads the last snapshot and runs the recorded steps again, so that the rules'
/// states, and all alerts after that, are as if nothing had happened.
///
/// What is taken in and not part of a step yet is in memory only: `apply` answers with the offset after it, and
/// `position` with what is written.
///
/// When the journal no longer reaches back to the last snapshot, the follower is rebuilt from the history's
/// totals: see [`AlertRule::rebuild`](feedkit_core::AlertRule::rebuild).
///
/// # Cancellation
///
/// A call that is dropped half-way leaves the follower to recover at the next call of `position`.
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
    /// Taken out while a call works on it, and put back if the outcome is known: so a call that is dropped, or
    /// fails half-way, leaves nothing behind that is not as the log has it.
    work: Option<Box<Work>>,
    rebuild: Option<String>,
}

impl<L: AlertLog, H: History> AlertFollower<L, H> {
    /// A follower that has not asked for the lease yet.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid): two rules have one name, or a rule's state takes too much.
    pub fn new(
        log: L,
        history: H,
        set: RuleSet,
        clock: Arc<dyn Clock>,
        options: AlertOptions,
    ) -> Result<Self> {
        Rules::new(&set, &options.limits)?;
        let tenure = Tenure::new(options.owner.clone(), options.lease_ttl);
        let signals = Signals { lease: tenure.watch(), written: Arc::new(Notify::new()) };
        let state = Mutex::new(State { tenure, work: None, rebuild: None });
        Ok(AlertFollower { log, history, set, clock, options, state, signals })
    }

    /// What a [`Relay`](crate::Relay) has to know.
    pub fn signals(&self) -> Signals {
        self.signals.clone()
    }

    /// Does something with the work, and puts it back if it is known how that ended.
    async fn with_work(&self, state: &mut State, call: Call) -> Result<()> {
        let mut work = state.work.take().ok_or_else(not_held)?;
        let result = self.call(&mut work, &mut state.tenure, call).await;
        match &result {
            Err(e) if e.kind() == ErrorKind::Fenced => state.tenure.lost(),
            Ok(()) => state.work = Some(work),
            Err(e) if e.is_retriable() => state.work = Some(work),
            Err(_) => {}
        }
        // Where the log's idea of what comes next is not ours, or not known, recovery settles it.
        result
    }

    async fn call(&self, work: &mut Work, tenure: &mut Tenure, call: Call) -> Result<()> {
        let desk = Desk {
            log: &self.log,
            clock: &*self.clock,
            options: &self.options,
            written: &|| self.signals.written.notify_one(),
        };
        match call {
            Call::GoOn => {
                work.go_on(&desk, tenure, Reach::Frontier).await?;
                work.go_on_anyway(&desk, tenure).await
            }
            Call::Finish => {
                work.go_on(&desk, tenure, Reach::Everything).await?;
                let lease = tenure.renewed(&self.log, &*self.clock).await?;
                work.snapshot(&desk, &lease).await
            }
        }
    }

    /// Gets the lease, and recovers, unless that is done already. `None` while another holds it.
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
            Err(e) => return Err(e.context("recovering the alerts")),
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

/// What is to be done with the work.
enum Call {
    GoOn,
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
            work.align.know(partition, self.clock.now());
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
        // What other partitions are handed at the same moment goes into the same step.
        tokio::task::yield_now().await;
        let mut state = self.state.lock().await;
        self.with_work(&mut state, Call::GoOn).await?;
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
                Err(e.context("rebuilding the alerts"))
            }
        }
    }

    async fn tick(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        match state.work {
            Some(_) => self.with_work(&mut state, Call::GoOn).await,
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
        // The lease is given back also when something could not be written: another may be able to.
        match (result, state.tenure.release(&self.log).await) {
            (Ok(()), Err(e)) if e.kind() != ErrorKind::Fenced => Err(e),
            (result, _) => result,
        }
    }
}
