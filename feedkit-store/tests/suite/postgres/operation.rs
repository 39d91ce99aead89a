//! Versions of the schema, roles with few rights, and errors that an operator sees.

use std::sync::Arc;

use feedkit_core::testkit::ManualClock;
use feedkit_core::testkit::conformance::support::{at, batch, event, post, user};
use feedkit_core::{Alerts, Error, ErrorKind, History, Inspect, Partition, Queries, SystemClock};
use feedkit_store::postgres::{Postgres, PostgresOptions};
use feedkit_test_services::{apply, free_port, needs_postgres};

use super::support::{Databases, client, connect, connect_at, followed, options, reached};
use crate::histories::NONE;

async fn refused(options: PostgresOptions) -> Error {
    Postgres::connect(options, Arc::new(SystemClock)).await.unwrap_err()
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_unless_it_says_that_it_will_do() {
    let databases = Databases::new();
    let url = databases.url().await;
    let mut checking = options(&url);
    checking.migrate = false;
    let error = refused(checking.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    assert!(error.to_string().contains("no feedkit schema"), "{error}");
    // Several processes start at once.
    let starts = (0..4).map(|_| tokio::spawn(connect(options(&url))));
    for start in starts.collect::<Vec<_>>() {
        start.await.unwrap();
    }
    connect(checking.clone()).await;

    let admin = client(&url).await;
    admin
        .batch_execute(
            "ALTER TABLE events ADD COLUMN later text; ALTER TABLE likes ADD COLUMN later int DEFAULT 1; \
             ALTER TABLE positions ADD COLUMN later text; ALTER TABLE journal ADD COLUMN later text; \
             ALTER TABLE post_totals ADD COLUMN later text; CREATE TABLE later (a int); \
             INSERT INTO schema_version (version, min_compatible) VALUES (3, 1)",
        )
        .await
        .unwrap();
    for options in [options(&url), checking.clone()] {
        // This program is the previous release. It works together with the newer one.
        let followed = followed(&connect(options).await);
        let claim = followed.claim(Partition(0), "g").await.unwrap();
        let from = claim.position;
        let like = vec![event(from, "a", &format!("p{from}"), "like"), event(from + 1, "a", "q", "comment")];
        followed.commit(Arc::new(batch(claim.epoch, from, from + 10, like))).await.unwrap();
        assert_eq!(followed.post(&post(&format!("p{from}"))).await.unwrap().unwrap().likes, 1);
        assert_eq!(followed.verify().await.unwrap().differences, NONE);
        followed.inner.rebuild_totals().await.unwrap();
    }
    admin.batch_execute("INSERT INTO schema_version (version, min_compatible) VALUES (4, 4)").await.unwrap();
    for options in [options(&url), checking] {
        let error = refused(options).await;
        assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
        assert!(error.to_string().contains("newer feedkit (version 4"), "{error}");
    }
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_create_nothing_goes_on_over_the_turn_of_a_month() {
    let databases = Databases::new();
    let url = databases.url().await;
    connect(options(&url)).await;
    let admin = client(&url).await;
    let role = format!("feedkit_test_{:016x}", rand::random::<u64>());
    admin
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret'; REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}; \
             ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {role}; \
             GRANT EXECUTE ON FUNCTION feedkit_add_events_month, feedkit_add_journal_day TO {role}"
        ))
        .await
        .unwrap();
    let mut limited = options(&reached(&url, |config| {
        config.user(&role).password("secret");
    }));
    limited.migrate = false;
    let done = async {
        let clock = ManualClock::at(at(0));
        let followed = followed(&connect_at(limited.clone(), Arc::new(clock)).await);
        let epoch = followed.claim(Partition(0), "g").await?.epoch;
        let mut later = event(0, "a", "p", "like");
        // This is long after the partitions that are made ahead.
        later.event.time = at(400 * 86_400);
        later.event.id = feedkit_core::EventId::derived(later.event.time, 1);
        let mut one = batch(epoch, 0, 10, vec![later]);
        one.now = at(400 * 86_400);
        followed.commit(Arc::new(one.clone())).await?;
        assert_eq!(followed.verify().await?.differences, NONE);

        // A role that may only read.
        admin
            .batch_execute(&format!(
                "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public \
                 TO {role}; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM {role}"
            ))
            .await
            .unwrap();
        let reader = connect(limited.clone()).await;
        assert_eq!(reader.history().post(&post("p")).await?.unwrap().likes, 1);
        assert_eq!(reader.history().verify().await?.differences, NONE);
        assert!(reader.alert_log().alerts(None, 9).await?.is_empty());
        one.from = 10;
        one.to = 20;
        one.events.clear();
        let refused = reader.history().commit(Arc::new(one)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Fatal, "{refused}");
        assert!(refused.to_string().contains("42501"), "{refused}");
        Ok::<_, Error>(())
    };
    let done = done.await;
    let refused = client(&limited.url).await.batch_execute("CREATE TABLE x (a int)").await;
    admin.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    done.unwrap();
    assert!(refused.is_err());
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_store_from_connecting_is_told_apart() {
    let databases = Databases::new();
    let url = databases.url().await;
    let nowhere = reached(&url, |config| {
        config.host("127.0.0.1").port(1);
    });
    let error = refused(options(&nowhere)).await;
    assert_eq!(error.kind(), ErrorKind::Retriable, "{error}");
    let missing = reached(&url, |config| {
        config.dbname("feedkit_test_none");
    });
    let error = refused(options(&missing)).await;
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
    assert!(error.to_string().contains("3D000"), "{error}");
    let error = refused(options("postgres://host:port/x?y")).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let shown = format!("{:?}", PostgresOptions::new("postgres://u:secret@h/d"));
    assert!(!shown.contains("secret"), "{shown}");

    let store = connect(options(&url)).await;
    store.ping().await.unwrap();
    store.close();
    let error = store.history().positions().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
}

#[apply(needs_postgres!)]
#[tokio::test(flavor = "multi_thread")]
async fn a_lazy_store_looks_at_the_database_at_each_call_until_it_can_work_with_it() {
    let databases = Databases::new();
    let url = databases.url().await;
    let mut checking = options(&url);
    checking.migrate = false;
    let lazy = Postgres::lazy(checking, Arc::new(SystemClock)).unwrap();
    let history = lazy.history();
    for error in [lazy.ping().await.unwrap_err(), history.post(&post("p")).await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Fatal, "{error}");
        assert!(error.to_string().contains("no feedkit schema"), "{error}");
    }
    // Another lazy one makes the schema, whichever call comes first.
    let migrating = Postgres::lazy(options(&url), Arc::new(SystemClock)).unwrap();
    let epoch = migrating.history().claim(Partition(0), "g").await.unwrap().epoch;
    let like = vec![event(0, "a", "p", "like")];
    migrating.history().commit(Arc::new(batch(epoch, 0, 1, like))).await.unwrap();
    // The seed of the likes' keys is read before it is used.
    let another = Postgres::lazy(options(&url), Arc::new(SystemClock)).unwrap();
    let liked = another.history().liked(&user("a"), &[post("p"), post("q")]).await.unwrap();
    assert_eq!(liked, [post("p")]);

    lazy.ping().await.unwrap();
    assert_eq!(history.liked(&user("a"), &[post("p")]).await.unwrap(), [post("p")]);
    lazy.close();
    assert_eq!(lazy.ping().await.unwrap_err().kind(), ErrorKind::Fatal);
}

#[tokio::test]
async fn a_lazy_store_needs_a_server_only_when_it_is_asked() {
    let lazy = |url: &str| Postgres::lazy(PostgresOptions::new(url), Arc::new(SystemClock));
    assert_eq!(lazy("postgres://host:port").unwrap_err().kind(), ErrorKind::Invalid);
    let nobody = format!("postgres://feedkit@127.0.0.1:{}/feedkit", free_port());
    let store = lazy(&nobody).unwrap();
    assert_eq!(store.ping().await.unwrap_err().kind(), ErrorKind::Retriable);
    assert_eq!(store.alert_log().alerts(None, 1).await.unwrap_err().kind(), ErrorKind::Retriable);
}
