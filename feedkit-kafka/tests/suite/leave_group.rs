//! Makes the group's coordinator remove a member, by a LeaveGroup request in the member's name.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// Removes the member that has this `client.id`. Returns `false` if the group has no such member.
pub async fn expel(broker: &str, group: &str, client_id: &str) -> bool {
    let Some(member) = member_id(broker.to_owned(), group.to_owned(), client_id.to_owned()).await else {
        return false;
    };
    let mut body = Vec::new();
    // The header: LeaveGroup, version 2, correlation id 1, no client id.
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
    // The response: size, correlation id, throttle time, error code.
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[12..], [0, 0], "the coordinator refused the request");
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
