//! Assigning partitions to the members of a group. All members are in the process that writes.

use std::collections::{BTreeMap, BTreeSet};

use feedkit_core::Partition;
use feedkit_core::source::RevokeGuard;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{mpsc, watch};

/// The groups that read a log.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    state: Mutex<State>,
    /// Changes whenever there may be news for a member.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<Name, Group>,
    members: u64,
}

/// The names of a topic and a group.
type Name = (String, String);

/// A member's place in its group. It must [leave](Groups::leave).
#[derive(Debug, Clone)]
pub(crate) struct Member {
    name: Name,
    number: u64,
}

/// News for a member.
pub(crate) enum Told {
    Assigned(Partition),
    Revoked(BTreeSet<Partition>, RevokeGuard),
}

impl Groups {
    /// Adds a member, which shares the topic's partitions with the other members of the group.
    pub(crate) fn join(&self, topic: &str, group: &str, partitions: usize) -> Member {
        let mut state = self.lock();
        state.members += 1;
        let member = Member { name: (topic.to_owned(), group.to_owned()), number: state.members };
        let group = state.groups.entry(member.name.clone()).or_default();
        group.members.insert(member.number);
        group.share_out(partitions);
        drop(state);
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
        member
    }

    /// Removes `member`, which gives up its partitions, except those that a guard still holds.
    pub(crate) fn leave(&self, member: &Member, partitions: usize) {
        let mut state = self.lock();
        if let Some(group) = state.groups.get_mut(&member.name) {
            group.leave(member.number, partitions);
            if group.members.is_empty() && group.revoked.is_empty() {
                state.groups.remove(&member.name);
            }
        }
        drop(state);
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Returns the next news for `member`, if there is any.
    pub(crate) fn tell(&self, member: &Member) -> Option<Told> {
        self.lock().groups.get_mut(&member.name)?.tell(member.number)
    }

    /// Whether the member holds `partition`.
    pub(crate) fn holds(&self, member: &Member, partition: Partition) -> bool {
        let state = self.lock();
        state
            .groups
            .get(&member.name)
            .is_some_and(|group| group.holder.get(&partition) == Some(&member.number))
    }

    /// Whether partitions wait until a guard is dropped. Dropping a guard notifies nobody.
    pub(crate) fn is_revoking(&self, member: &Member) -> bool {
        self.lock().groups.get(&member.name).is_some_and(|group| !group.revoked.is_empty())
    }

    /// Changes whenever there may be news for a member, except when a guard is dropped.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock()
    }
}

/// The members of a group, and their partitions.
///
/// The `target` of a partition depends only on the members. Its `holder` changes when a member gets
/// the news, and only while nobody else holds the partition.
#[derive(Debug, Default)]
struct Group {
    members: BTreeSet<u64>,
    target: BTreeMap<Partition, u64>,
    holder: BTreeMap<Partition, u64>,
    /// Partitions that are being revoked, with the receivers that notice the end of their guards.
    revoked: Vec<(BTreeSet<Partition>, mpsc::Receiver<()>)>,
}

impl Group {
    fn leave(&mut self, member: u64, partitions: usize) {
        self.members.remove(&member);
        // A guard that still exists keeps its partitions, even if its reader is gone.
        let kept = self.being_revoked();
        self.holder.retain(|partition, holder| *holder != member || kept.contains(partition));
        self.share_out(partitions);
    }

    fn tell(&mut self, member: u64) -> Option<Told> {
        self.take_back();
        let revoked = self.being_revoked();
        let moved = |(partition, holder): &(&Partition, &u64)| {
            **holder == member && self.target.get(partition) != Some(&member) && !revoked.contains(partition)
        };
        let moved: BTreeSet<_> = self.holder.iter().filter(moved).map(|(partition, _)| *partition).collect();
        if !moved.is_empty() {
            let (guard, dropped) = RevokeGuard::new();
            self.revoked.push((moved.clone(), dropped));
            return Some(Told::Revoked(moved, guard));
        }
        let free = |(partition, target): &(&Partition, &u64)| {
            **target == member && !self.holder.contains_key(*partition)
        };
        let (partition, _) = self.target.iter().find(free)?;
        self.holder.insert(*partition, member);
        Some(Told::Assigned(*partition))
    }

    fn being_revoked(&self) -> BTreeSet<Partition> {
        self.revoked.iter().flat_map(|(partitions, _)| partitions).copied().collect()
    }

    /// Frees the partitions whose guards have been dropped.
    fn take_back(&mut self) {
        let holder = &mut self.holder;
        self.revoked.retain_mut(|(partitions, guard)| {
            let held = guard.try_recv() != Err(mpsc::error::TryRecvError::Disconnected);
            if !held {
                holder.retain(|partition, _| !partitions.contains(partition));
            }
            held
        });
    }

    /// Gives each member an equal share of the partitions, and moves as few of them as possible.
    fn share_out(&mut self, partitions: usize) {
        let count = self.members.len().max(1);
        let share = |place| partitions / count + usize::from(place < partitions % count);
        let mut room: BTreeMap<u64, usize> =
            self.members.iter().enumerate().map(|(place, member)| (*member, share(place))).collect();
        self.target.retain(|_, member| match room.get_mut(member) {
            Some(room) if *room > 0 => {
                *room -= 1;
                true
            }
            _ => false,
        });
        let mut roomy = room.into_iter().flat_map(|(member, room)| std::iter::repeat_n(member, room));
        for partition in (0..partitions).map(|n| Partition(u32::try_from(n).unwrap_or(u32::MAX))) {
            if let std::collections::btree_map::Entry::Vacant(vacant) = self.target.entry(partition)
                && let Some(member) = roomy.next()
            {
                vacant.insert(member);
            }
        }
    }
}
