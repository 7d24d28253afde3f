//! Wraps the response body, forwards its data, and settles the request's account at its end.

use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::Error;
use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use pin_project_lite::pin_project;

use crate::accounting::Account;
use crate::catch_panic::catching;
use crate::causes;
use crate::logs::with_context;

pin_project! {
    /// A response body that counts its request when it ends or is dropped.
    #[derive(Debug)]
    pub struct AccountedBody<B> {
        // `None` after the drop
        #[pin]
        body: Option<B>,
        guard: BodyGuard,
    }

    impl<B> PinnedDrop for AccountedBody<B> {
        /// Drops the body within the request's context, because destructors may log.
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(account) = &this.guard.account {
                with_context(account.context(), || this.body.set(None));
            }
        }
    }
}

/// Counts the request as `body_cut` if it is dropped with the account open and bytes missing.
#[derive(Debug)]
struct BodyGuard {
    account: Option<Box<Account>>,
    /// Remaining bytes, if the size is known.
    missing: Option<u64>,
}

impl BodyGuard {
    fn cut(&mut self) {
        if let Some(account) = &mut self.account {
            account.cut();
        }
        self.account = None;
    }
}

impl Drop for BodyGuard {
    fn drop(&mut self) {
        if self.missing != Some(0) {
            self.cut();
        }
    }
}

impl<B: MessageBody> AccountedBody<B> {
    pub(crate) fn new(body: B, account: Box<Account>) -> Self {
        let missing = match body.size() {
            _ if account.is_head() => Some(0),
            BodySize::None => Some(0),
            BodySize::Sized(bytes) => Some(bytes),
            BodySize::Stream => None,
        };
        Self { body: Some(body), guard: BodyGuard { account: Some(account), missing } }
    }
}

fn causes_of(error: &(dyn StdError + 'static)) -> String {
    // printing an error may panic
    let causes = catching(|| match error.downcast_ref::<Error>() {
        Some(error) => causes::of_response(error),
        None => causes::chain(error),
    });
    causes.unwrap_or_else(|_| "(can't be printed)".to_owned())
}

impl<B: MessageBody> MessageBody for AccountedBody<B> {
    type Error = Box<dyn StdError>;

    fn size(&self) -> BodySize {
        self.body.as_ref().map_or(BodySize::None, MessageBody::size)
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.project();
        let guard = this.guard;
        let Some(body) = this.body.as_pin_mut() else { return Poll::Ready(None) };
        let polled = match catching(|| body.poll_next(cx)) {
            Ok(polled) => polled,
            Err(panic) => {
                if let Some(mut account) = guard.account.take() {
                    account.panicked();
                }
                return Poll::Ready(Some(Err(panic.into())));
            }
        };
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(bytes))) => {
                if let Some(missing) = &mut guard.missing {
                    *missing = missing.saturating_sub(bytes.len() as u64);
                    if *missing == 0 {
                        guard.account = None;
                    }
                }
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = error.into();
                if let Some(mut account) = guard.account.take() {
                    account.body_failed(causes_of(&*error));
                }
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                // the body is shorter than its declared size
                if guard.missing.is_some_and(|missing| missing > 0) {
                    guard.cut();
                }
                guard.account = None;
                Poll::Ready(None)
            }
        }
    }
}
