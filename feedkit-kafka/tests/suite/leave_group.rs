//! Has the group's coordinator declare a member dead: a LeaveGroup request in its name.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// Removes the member that has this `client.id`. `false`: the group has none.
pub async fn expel(broker: &str, group: &str, client_id: &str) -> bool {
    let Some(member) = member_id(broker.to_owned(), group.to_owned(), client_id.to_owned()).await else {
        return false;
    };
    let mut body = Vec::new();
    // LeaveGroup, version 2, request 1, no client.
    for number in [13_i16, 2] {
        body.extend(number.to_be_bytes());
    }
    body.extend(1_i32.to_be_bytes());
    body.extend((-1_i16).to_be_bytes());
    for text in [group, &member] {
        body.extend((text.len() as i16).to_be_bytes());
        body.extend(text.as_bytes());
    }
    let mut stream = TcpStream::connect(broker).unwrap();
    stream.write_all(&(body.len() as i32).to_be_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    // Size, request, throttle time, error.
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[12..], [0, 0], "the coordinator refuses");
    true
}

async fn member_id(broker: String, group: String, client_id: String) -> Option<String> {
    tokio::task::spawn_blocking(move || {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &broker).create().unwrap();
        let list = client.fetch_group_list(Some(&group), Duration::from_secs(10)).unwrap();
        let members = list.groups().iter().flat_map(|group| group.members());
        members.filter(|m| m.client_id() == client_id).map(|m| m.id().to_owned()).next()
    })
    .await
    .unwrap()
}
