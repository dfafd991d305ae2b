//! A name server that answers as a test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// What is answered for a name.
#[derive(Debug, Clone)]
pub enum DnsAnswer {
    Records(Vec<RData>, u32),
    /// These records for questions of other types, and this code for those of one.
    But(RecordType, ResponseCode, Vec<RData>),
    Code(ResponseCode),
    Garbage,
    Silence,
}

/// Names that are not in the zone do not exist.
type Zone = Arc<Mutex<HashMap<String, DnsAnswer>>>;

pub struct DnsServer {
    pub addr: SocketAddr,
    zone: Zone,
    /// The names that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl DnsServer {
    pub async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let addr = socket.local_addr().expect("an address");
        let zone = Zone::default();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let task = tokio::spawn(serve(socket, Arc::clone(&zone), Arc::clone(&asked)));
        Self {
            addr,
            zone,
            asked,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub fn answer(&self, name: &str, answer: DnsAnswer) {
        let mut zone = self.zone.lock().expect("not poisoned");
        zone.insert(name.to_owned(), answer);
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

pub fn srv(port: u16, target: &str) -> RData {
    let target = Name::from_ascii(target).expect("a name");
    RData::SRV(SRV::new(0, 1, port, target))
}

pub fn a(address: &str) -> RData {
    RData::A(A(address.parse().expect("an address")))
}

pub fn aaaa(address: &str) -> RData {
    RData::AAAA(AAAA(address.parse().expect("an address")))
}

async fn serve(socket: UdpSocket, zone: Zone, asked: Arc<Mutex<Vec<String>>>) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        let Ok(question) = Message::from_vec(&buffer[..length]) else {
            continue;
        };
        let query = question.queries[0].clone();
        let name = query.name().to_ascii().to_ascii_lowercase();
        asked.lock().expect("not poisoned").push(name.clone());
        let found = zone.lock().expect("not poisoned").get(&name).cloned();
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.add_query(query.clone());
        match found {
            Some(DnsAnswer::Records(records, ttl)) => {
                for data in records {
                    if data.record_type() == query.query_type() {
                        answer.add_answer(Record::from_rdata(query.name().clone(), ttl, data));
                    }
                }
            }
            Some(DnsAnswer::But(kind, code, _)) if kind == query.query_type() => {
                answer.metadata.response_code = code;
            }
            Some(DnsAnswer::But(_, _, records)) => {
                for data in records {
                    if data.record_type() == query.query_type() {
                        answer.add_answer(Record::from_rdata(query.name().clone(), 60, data));
                    }
                }
            }
            Some(DnsAnswer::Code(code)) => answer.metadata.response_code = code,
            Some(DnsAnswer::Garbage) => {
                let _ = socket.send_to(&[0xff; 9], from).await;
                continue;
            }
            Some(DnsAnswer::Silence) => continue,
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        let bytes = answer.to_vec().expect("a message");
        let _ = socket.send_to(&bytes, from).await;
    }
}
