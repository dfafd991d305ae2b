//! How the request for a deployment differs from another one.

use hotswap_core::{Deployment, DeploymentId, Header, RequestDifference, Status};
use hotswap_store::Query;

use super::{Deployments, Error};

/// How two requests differ.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestDiff {
    /// The deployment that it is compared with.
    pub with: DeploymentId,
    /// In what they differ, sorted.
    pub differences: Vec<RequestDifference>,
}

impl Deployments {
    /// How the request for deployment `id` differs from that for deployment `with`. `None` for
    /// the last success of the module in the environment before it.
    ///
    /// # Errors
    /// [`Error::Unknown`]; [`Error::NothingToCompare`] where none succeeded before;
    /// [`Error::Damaged`] where one of the requests cannot be read.
    pub async fn diff(
        &self,
        id: DeploymentId,
        with: Option<DeploymentId>,
    ) -> Result<RequestDiff, Error> {
        let after = self.request(id).await?;
        let with = match with {
            Some(with) => with,
            None => self
                .success_before(&after)
                .await?
                .ok_or(Error::NothingToCompare(id))?,
        };
        let before = self.request(with).await?;
        let differences = RequestDifference::between(&before, &after);
        Ok(RequestDiff {
            with,
            differences: differences.map_err(|error| Error::Store(Box::new(error)))?,
        })
    }

    async fn request(&self, id: DeploymentId) -> Result<Header, Error> {
        let Deployment { header, damage, .. } = self.at(id, 1).await?;
        damage.map_or(Ok(header), |damage| Err(Error::Damaged(damage)))
    }

    async fn success_before(&self, request: &Header) -> Result<Option<DeploymentId>, Error> {
        let mut found = Vec::new();
        for status in [Status::Succeeded, Status::Partial] {
            let query = Query {
                module: Some(request.module.name.clone()),
                environment: Some(request.environment.clone()),
                status: Some(status),
                before: Some(request.id),
                limit: 1,
            };
            found.extend(self.journal.list(&query).await?.deployments);
        }
        // Ids rise with time.
        Ok(found.into_iter().max())
    }
}
