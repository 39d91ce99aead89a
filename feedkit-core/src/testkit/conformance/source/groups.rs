//! How the members of a group share the partitions.

use super::*;

/// Runs two readers side by side until both are settled.
async fn settle_both(says: Sentence, one: &mut Reader<'_>, two: &mut Reader<'_>) {
    loop {
        one.answer_all();
        two.answer_all();
        let quiet = tokio::time::sleep(one.log.quiet());
        tokio::select! {
            event = one.source.next() => { let event = says.ok("next", event); one.note(says, event) }
            event = two.source.next() => { let event = says.ok("next", event); two.note(says, event) }
            () = quiet => return,
        }
    }
}

pub(super) async fn a_revoked_partition_waits_for_its_guard(log: &impl LogHarness) {
    let says =
        Sentence("no other member gets a revoked partition before the guard of the revocation is dropped");
    let keys = keys(says, log).await;
    let mut one = Reader::new(log, log.member("g").await.source);
    one.until_assigned(says).await;
    one.settle(says).await;
    let mut two = Reader::new(log, log.member("g").await.source);
    settle_both(says, &mut one, &mut two).await;
    let taken: BTreeSet<_> = one.revoked.iter().flat_map(|(p, _)| p).copied().collect();
    says.holds(
        !taken.is_empty() && (taken.len() as u32) < log.partitions(),
        format_args!("the revoked partitions are {taken:?}"),
    );
    says.equal("held by the other meanwhile", two.held(), BTreeSet::new());
    let says_nothing = Sentence("after Revoked the source yields nothing more of those partitions");
    for key in &keys {
        fill(says, log, key, 10).await;
    }
    settle_both(says_nothing, &mut one, &mut two).await;
    says.equal("held by the other while the guard is held", two.held(), BTreeSet::new());
    // A clone delays the revocation like the guard itself.
    let clones: Vec<_> = one.revoked.drain(..).map(|(_, guard)| guard.clone()).collect();
    settle_both(says, &mut one, &mut two).await;
    says.equal("held by the other while a clone is held", two.held(), BTreeSet::new());
    drop(clones);
    two.until(says, "waiting until the other is assigned them", |r| r.held().len() >= taken.len()).await;
    says.equal("held by the other", two.held(), taken.clone());
    settle_both(says, &mut one, &mut two).await;
    let says = Sentence("the members of a group share the partitions among themselves");
    says.equal("held by both", one.held().intersection(&two.held()).count(), 0);
    says.equal("held by either", (one.held().len() + two.held().len()) as u32, log.partitions());
    let says = Sentence("still_held tells whether a partition is still assigned to this reader");
    for partition in (0..log.partitions()).map(Partition) {
        let held = says.ok("still_held", one.source.still_held(partition).await);
        says.equal("held by the first", held, one.held().contains(&partition));
        let held = says.ok("still_held", two.source.still_held(partition).await);
        says.equal("held by the second", held, two.held().contains(&partition));
    }
}

pub(super) async fn a_reader_that_leaves_makes_room(log: &impl LogHarness) {
    let says = Sentence("the partitions of a member that leaves go to the others");
    fill(says, log, "a", 10).await;
    let mut one = Reader::new(log, log.member("g").await.source);
    one.settle(says).await;
    let mut other_group = Reader::new(log, log.member("h").await.source);
    other_group.settle(says).await;
    let two = Reader::new(log, log.member("g").await.source);
    drop(two);
    one.revoked.clear();
    drop(one);
    let mut three = Reader::new(log, log.member("g").await.source);
    three.until_assigned(says).await;
    let says = Sentence("groups do not take each other's partitions");
    says.equal("another group's", other_group.held().len() as u32, log.partitions());
    let lost = (other_group.revoked.len(), other_group.lost.len());
    says.equal("partitions revoked or lost by another group", lost, (0, 0));
}

pub(super) async fn a_lost_partition_is_silent(log: &impl LogHarness) {
    let says = Sentence(
        "after Lost the source yields nothing more of those partitions until they are assigned again",
    );
    let keys = keys(says, log).await;
    for key in &keys {
        fill(says, log, key, 20).await;
    }
    let Named { name, source } = log.member("g").await;
    let mut one = Reader::new(log, source);
    one.until_assigned(says).await;
    one.answer_all();
    one.until(says, "reading", |r| r.count() > 0).await;
    let held = one.held();
    if !log.expel(&name).await {
        return;
    }
    let says_held =
        Sentence("still_held sends a heartbeat before it tells that a partition is no longer assigned");
    says_held.equal("held", says_held.ok("still_held", one.source.still_held(Partition(0)).await), false);
    let mut two = Reader::new(log, log.member("g").await.source);
    two.until_assigned(says).await;
    let before = one.count();
    one.until(says, "learning of the loss", |r| !r.lost.is_empty()).await;
    says.equal("records after the loss", one.count(), before);
    says.equal("partitions lost", one.lost.iter().copied().collect::<BTreeSet<_>>(), held);
    says.equal("partitions revoked", one.revoked.len(), 0);
    for key in &keys {
        fill(says, log, key, 5).await;
    }
    one.listen(says).await;
    says.equal("records later", one.count(), before);
}
