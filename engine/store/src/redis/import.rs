//! Writing an archive into an empty store.

use hotswap_core::Digest;
use redis::cmd;
use serde::Serialize;

use super::commands::{Commands, random_word};
use super::config::RedisConfig;
use super::opening::Opening;
use super::reply::Args;
use super::supersede::lifecycle_json;
use super::{LAYOUT, Redis, error, script};
use crate::blobs::{self, SharedBlobs};
use crate::transfer::{Archive, Entry, Error, Record, StoredDeployment};

/// Records and bytes that one script writes: nothing else runs on the server meanwhile.
const MAX_RECORDS: usize = 200;
const MAX_BYTES: usize = 1 << 20;

/// The size of a chunk of an artifact.
const CHUNK: usize = super::blobs::CHUNK as usize;

impl Redis {
    /// Writes an archive into the store of a configuration, which must be empty. Its artifacts go
    /// to `artifacts`, or without it to the store.
    ///
    /// From its first write on the store has a layout that no engine opens, until a single write at
    /// the end gives it the right one, and a new epoch. What an import leaves behind that was cut
    /// off, the next one deletes.
    ///
    /// # Errors
    /// - [`Error::NotEmpty`], [`Error::InUse`], and those of reading the archive: then nothing was
    ///   written.
    /// - [`Error::Replaced`] where somebody else has begun to use the store.
    /// - [`Error::Store`]: import again.
    pub async fn import(
        config: &RedisConfig,
        archive: &Archive,
        artifacts: Option<&dyn SharedBlobs>,
    ) -> Result<(), Error> {
        let import = Import::begin(config).await?;
        let imported = import.run(archive, artifacts).await;
        import.commands.close().await;
        imported
    }
}

struct Import {
    commands: Commands,
    /// What tells this import from another one.
    word: String,
}

impl Import {
    async fn begin(config: &RedisConfig) -> Result<Self, Error> {
        // It has seen nothing of a store, and so misses nothing.
        let (opening, writer) = Opening::begin(config).await?;
        tokio::spawn(writer.run());
        Ok(Self {
            commands: opening.commands,
            word: random_word(),
        })
    }

    async fn run(
        &self,
        archive: &Archive,
        artifacts: Option<&dyn SharedBlobs>,
    ) -> Result<(), Error> {
        let begun = self.commands.write(&script::IMPORT, self.args("begin"));
        let begun = begun.await?;
        match begun.word()? {
            "begun" => {}
            "full" => return Err(Error::NotEmpty),
            _ => {
                let names = (1..begun.len()).map(|index| begun.text(index).map(str::to_owned));
                return Err(Error::InUse(names.collect::<Result<_, _>>()?));
            }
        }
        self.delete_leftovers().await?;
        let mut batch = Batch::default();
        let mut counts = Counts::default();
        let mut records = archive.records()?;
        while let Some(entry) = records.next()? {
            counts.count(&entry.record);
            if let (Record::Blob { digest }, Some(bytes)) = (&entry.record, &entry.bytes) {
                match artifacts {
                    Some(artifacts) => blobs::put(artifacts, *digest, bytes).await?,
                    None => self.write_blob(*digest, bytes).await?,
                }
                continue;
            }
            let (what, fields) = encode(&entry)?;
            if batch.what != what || batch.is_full() {
                self.write_batch(&mut batch).await?;
            }
            batch.add(what, fields);
        }
        self.write_batch(&mut batch).await?;
        let args = self
            .args("end")
            .number(LAYOUT.into())
            .number(counts.position)
            .number(counts.deleted)
            .number(counts.fence)
            .number(counts.number)
            .text(random_word());
        self.write(args).await
    }

    /// Deletes what another import has left behind.
    async fn delete_leftovers(&self) -> Result<(), Error> {
        let meta = self.commands.key("meta");
        let pattern = self.commands.key("*");
        let mut cursor = Some("0".to_owned());
        while let Some(from) = cursor {
            let mut keys;
            (keys, cursor) = self.commands.scan(&pattern, &from).await?;
            keys.retain(|key| *key != meta);
            if !keys.is_empty() {
                let mut command = cmd("UNLINK");
                command.arg(&keys);
                self.commands.query(&command).await?;
            }
        }
        Ok(())
    }

    async fn write_blob(&self, digest: Digest, bytes: &[u8]) -> Result<(), Error> {
        let digest = digest.to_string();
        for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
            let args = self.args("part").text(&digest).number(number as u64);
            self.write(args.bytes(chunk)).await?;
        }
        let args = self.args("blob").text(&digest).number(bytes.len() as u64);
        self.write(args).await
    }

    async fn write_batch(&self, batch: &mut Batch) -> Result<(), Error> {
        let Batch { what, fields, .. } = std::mem::take(batch);
        if fields.is_empty() {
            return Ok(());
        }
        let args = fields.iter().fold(self.args(what), Args::bytes);
        self.write(args).await
    }

    async fn write(&self, args: Args) -> Result<(), Error> {
        let reply = self.commands.write(&script::IMPORT, args).await?;
        match reply.word()? {
            "replaced" => Err(Error::Replaced),
            _ => Ok(()),
        }
    }

    fn args(&self, what: &str) -> Args {
        Args::new().text(&self.word).text(what)
    }
}

/// Records of one kind that one script writes.
#[derive(Default)]
struct Batch {
    what: &'static str,
    fields: Vec<Vec<u8>>,
    records: usize,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.records >= MAX_RECORDS || self.bytes >= MAX_BYTES
    }

    fn add(&mut self, what: &'static str, fields: Vec<Vec<u8>>) {
        self.what = what;
        self.records += usize::from(!fields.is_empty());
        self.bytes += fields.iter().map(Vec::len).sum::<usize>();
        self.fields.extend(fields);
    }
}

/// What the store counts.
#[derive(Default)]
struct Counts {
    position: u64,
    deleted: u64,
    fence: u64,
    /// The last number of a deployment. Also of one that was deleted after its module was retired.
    number: u64,
}

impl Counts {
    fn count(&mut self, record: &Record) {
        match record {
            Record::Store {
                position,
                deleted,
                fence,
            } => {
                (self.position, self.deleted, self.fence) = (*position, *deleted, *fence);
            }
            Record::Deployment(StoredDeployment { number, .. })
            | Record::Retirement { number, .. } => {
                self.number = self.number.max(*number);
            }
            _ => {}
        }
    }
}

/// What the script writes of a record, and its arguments.
fn encode(entry: &Entry) -> Result<(&'static str, Vec<Vec<u8>>), Error> {
    let hash = |hash: String, field: String, value: Vec<u8>| {
        Ok(("hash", vec![hash.into_bytes(), field.into_bytes(), value]))
    };
    let number = |number: &u64| number.to_string().into_bytes();
    match &entry.record {
        Record::Module(record) => hash(
            format!("module:{}", record.module.name),
            record.module.version.to_string(),
            json(record)?,
        ),
        Record::Strategy(record) => hash(
            "strategies".to_owned(),
            record.name.to_string(),
            json(record)?,
        ),
        Record::Backend(record) => hash(
            "backends".to_owned(),
            record.name.to_string(),
            json(record)?,
        ),
        Record::Node(record) => hash("nodes".to_owned(), record.id.to_string(), json(record)?),
        Record::Environment { name, fence } => hash(
            format!("environment:{name}"),
            "fence".to_owned(),
            number(fence),
        ),
        Record::Retirement {
            environment,
            module,
            number,
            at,
        } => hash(
            format!("retired:{environment}"),
            module.to_string(),
            format!("{number} {}", at.millis()).into_bytes(),
        ),
        Record::Cordon {
            environment,
            node,
            position,
        } => hash(
            "cordons".to_owned(),
            format!("{environment}/{node}"),
            number(position),
        ),
        Record::Arrival { node, position } => {
            hash("arrivals".to_owned(), node.to_string(), number(position))
        }
        Record::Policy {
            environment,
            position,
        } => hash(
            "policies".to_owned(),
            environment.to_string(),
            number(position),
        ),
        Record::Deployment(deployment) => Ok(("deployments", deployment_fields(deployment)?)),
        Record::Event { .. } | Record::EnvironmentEvent { .. } => {
            Ok(("events", event_fields(entry)))
        }
        Record::Store { .. } | Record::Blob { .. } => Ok(("", Vec::new())),
    }
}

fn deployment_fields(deployment: &StoredDeployment) -> Result<Vec<Vec<u8>>, Error> {
    let lifecycle = deployment.lifecycle;
    let request = deployment.request.as_ref();
    let request = request.map(|one| format!("{}\n{}", one.requester, one.key));
    let args = Args::new()
        .text(deployment.id.to_string())
        .number(deployment.number)
        .text(deployment.module.as_str())
        .text(deployment.environment.as_str())
        .number(deployment.fence)
        .text(lifecycle_json(lifecycle)?)
        .text(lifecycle.status().as_str())
        .flag(lifecycle.is_ended())
        .number(deployment.created_at.millis())
        .optional(request)
        .flag(deployment.selector.is_some())
        .optional(deployment.selector.as_ref())
        .flag(deployment.waits)
        .number(deployment.next_seq);
    Ok(args.into_fields())
}

fn event_fields(entry: &Entry) -> Vec<Vec<u8>> {
    let args = match &entry.record {
        Record::Event {
            position,
            deployment,
            seq,
            at,
        } => Args::new()
            .text("d")
            .number(*position)
            .number(at.millis())
            .text(deployment.to_string())
            .number(*seq)
            .text(""),
        Record::EnvironmentEvent {
            position,
            environment,
            at,
            decides,
            module,
        } => Args::new()
            .text("v")
            .number(*position)
            .number(at.millis())
            .text(environment.as_str())
            .flag(*decides)
            .optional(module.as_ref()),
        _ => return Vec::new(),
    };
    args.bytes(entry.bytes.as_deref().unwrap_or_default())
        .into_fields()
}

fn json(record: &impl Serialize) -> Result<Vec<u8>, error::Error> {
    serde_json::to_vec(record).map_err(|source| error::Error::Encode {
        what: "a record",
        source,
    })
}
