//! The one error of the project: one of Triton's eight codes and a message that names the offending
//! thing. The HTTP and gRPC statuses of a code are decided by the frontends, not here.

use std::fmt;

/// Result with Nereid's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Triton's error codes (`TRITONSERVER_Error_Code`), in Triton's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    Unknown,
    Internal,
    NotFound,
    InvalidArg,
    Unavailable,
    Unsupported,
    AlreadyExists,
    Cancelled,
}

impl ErrorCode {
    /// The words Triton puts before a message, as in `Invalid argument: …` (`Status::CodeString`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Internal => "Internal",
            Self::NotFound => "Not found",
            Self::InvalidArg => "Invalid argument",
            Self::Unavailable => "Unavailable",
            Self::Unsupported => "Unsupported",
            Self::AlreadyExists => "Already exists",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// A code and a message. `Display` prints the message alone, as clients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: ErrorCode,
    accepted: bool,
    overloaded: bool,
    message: Box<str>,
}

impl Error {
    /// An error of `code` with `message`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, accepted: false, overloaded: false, message: message.into().into_boxed_str() }
    }

    /// [`ErrorCode::Internal`]: something of ours broke.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Internal, message)
    }

    /// [`ErrorCode::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// [`ErrorCode::InvalidArg`]: the caller's mistake.
    pub fn invalid_arg(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArg, message)
    }

    /// [`ErrorCode::Unavailable`]: right request, wrong moment.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// [`ErrorCode::Unavailable`] for want of room: the same request may succeed a moment later.
    pub fn overloaded(message: impl Into<String>) -> Self {
        Self { overloaded: true, ..Self::unavailable(message) }
    }

    /// [`ErrorCode::Unsupported`].
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unsupported, message)
    }

    /// [`ErrorCode::Cancelled`], with Triton's empty message.
    pub fn cancelled() -> Self {
        Self::new(ErrorCode::Cancelled, "")
    }

    /// The code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The message, without the code.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the request had been accepted when it failed. Such an error is a response, any other a refusal; Triton's
    /// HTTP frontend labels the two differently (`InferResponseComplete` in `http_server.cc`).
    pub fn was_accepted(&self) -> bool {
        self.accepted
    }

    /// Whether the server had no room: clients are told when to come again.
    pub fn is_overload(&self) -> bool {
        self.overloaded
    }

    /// The same error, of a request that had been accepted.
    #[must_use]
    pub fn accepted(self) -> Self {
        Self { accepted: true, ..self }
    }

    /// The same error with `prefix` in front of its message.
    #[must_use]
    pub fn prefixed(self, prefix: &str) -> Self {
        Self { message: format!("{prefix}{}", self.message).into(), ..self }
    }

    /// `Invalid argument: message`, the way Triton quotes one error inside another.
    pub fn with_code(&self) -> String {
        format!("{}: {}", self.code.as_str(), self.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
