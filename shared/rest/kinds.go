package rest

import "net/http"

// ProblemKind is a type of problem: its slug ends the type URI and names its page under /docs/problems/.
type ProblemKind struct {
	Slug   string
	Title  string
	Status int
	// Explain says what happened, Mend what the caller can do about it.
	Explain, Mend string
	// Type is the URI of a kind that IANA has registered, "" for one of ours. It has no page here.
	Type string
	// Standard kinds have no page: type about:blank, title the status's own (RFC 9457, section 4.2.1).
	Standard bool
}

// The problems of the API.
var (
	KeyMissing = ProblemKind{
		Slug: "idempotency-key-missing", Title: "Idempotency-Key is missing", Status: 400,
		Explain: "Every write needs an Idempotency-Key header, so that a repeat of it has no second effect.",
		Mend:    "Send Idempotency-Key with a value that is new for each intended write (a UUID), and the same value when you repeat it. Keys are remembered for 24 hours.",
	}
	KeyInvalid = ProblemKind{
		Slug: "idempotency-key-invalid", Title: "Idempotency-Key is not valid", Status: 400,
		Explain: "The Idempotency-Key header must be sent once, with 1 to 255 printable ASCII characters, bare or as a quoted string.",
		Mend:    "Send one header with a valid value. Nothing was done and the key was not used.",
	}
	KeyReused = ProblemKind{
		Slug: "idempotency-key-reused", Title: "Idempotency-Key was used for another request", Status: 422,
		Explain: "This key came before with another method, path or body. Doing either request now could surprise you, so nothing was done.",
		Mend:    "Use a new key for a new request. To repeat the earlier one, send exactly its body.",
	}
	InFlight = ProblemKind{
		Slug: "request-in-flight", Title: "A request with this Idempotency-Key is being worked on", Status: 409,
		Explain: "Another request with the same key has not finished yet.",
		Mend:    "Nothing is wrong. Repeat the request after the seconds in Retry-After: you get its answer.",
	}
	SoldOut = ProblemKind{
		Slug: "sold-out", Title: "Not enough in stock", Status: 409,
		Explain: "At least one product has fewer units than the order asks for. products names each with what is left. No unit was taken.",
		Mend:    "Lower the quantities or remove the products, and place a new order with a new key.",
	}
	PriceChanged = ProblemKind{
		Slug: "price-changed", Title: "A price has changed", Status: 409,
		Explain: "A line carried expectedUnitPrice and the product costs something else now. products names each with its current price.",
		Mend:    "Show the new price, and place a new order with it and a new key.",
	}
	TooLate = ProblemKind{
		Slug: "too-late", Title: "The order can no longer be changed so", Status: 409,
		Explain: "The order has left the state in which this is possible.",
		Mend:    "Read the order for its state; ask the shop when it must still be changed.",
	}
	Validation = ProblemKind{
		Slug: "validation", Title: "The request is not valid", Status: 422,
		Explain: "The request was understood and at least one value in it is not allowed. errors names each place.",
		Mend:    "Correct the named places. The same Idempotency-Key may be used again.",
	}
	Malformed = ProblemKind{
		Slug: "malformed-request", Title: "The request could not be read", Status: 400,
		Explain: "The body is not JSON, or a header, cursor or parameter is not in its form.",
		Mend:    "Correct what detail names. The same Idempotency-Key may be used again.",
	}
	Expired = ProblemKind{
		Slug: "expired", Title: "Queued for too long", Status: 409,
		Explain: "The order was answered 202 and could not be placed within 23 hours. It will not be placed by that request any more.",
		Mend:    "Look at your orders; if this one is not among them, place it with a new key.",
	}
	NotFound = ProblemKind{
		Slug: "not-found", Title: "Not found", Status: 404,
		Explain: "There is nothing at this address, or nothing that is yours.",
		Mend:    "Check the address and who the token speaks for.",
	}
	Unauthorized = ProblemKind{
		Slug: "unauthorized", Title: "A valid token is needed", Status: 401,
		Explain: "The request has no bearer token, or one that is expired, meant for another audience or not signed by the issuer.",
		Mend:    "Send Authorization: Bearer with a fresh access token.",
	}
	Forbidden = ProblemKind{
		Slug: "forbidden", Title: "The token does not allow this", Status: 403,
		Explain: "The token is valid and lacks the scope or role that the operation needs.",
		Mend:    "Ask for a token with the scope that WWW-Authenticate names, or the role that detail names.",
	}
	PreconditionFailed = ProblemKind{
		Slug: "precondition-failed", Title: "It has changed meanwhile", Status: 412,
		Explain: "If-Match names a version that is no longer the current one. Nothing was done.",
		Mend:    "Read it again, decide again, and send its new ETag.",
	}
	PreconditionRequired = ProblemKind{
		Slug: "precondition-required", Title: "If-Match is needed", Status: 428,
		Explain: "This change needs If-Match, so that it can't overwrite one that you haven't seen.",
		Mend:    "Read it, and send the ETag of what you read as If-Match.",
	}
	PayloadTooLarge = ProblemKind{
		Slug: "payload-too-large", Title: "The body is too large", Status: 413,
		Explain: "The body is larger than the operation accepts.",
		Mend:    "Send less; detail names the limit.",
	}
	UnsupportedMediaType = ProblemKind{
		Slug: "unsupported-media-type", Title: "The body's type is not supported", Status: 415,
		Explain: "Bodies are JSON in UTF-8, not compressed.",
		Mend:    "Send Content-Type: application/json.",
	}
	Gone = ProblemKind{
		Slug: "gone", Title: "No longer there", Status: 410,
		Explain: "It was here and has been removed.",
		Mend:    "Start again from the list or feed that led here.",
	}
	VersionSunset = ProblemKind{
		Slug: "version-sunset", Title: "This version has ended", Status: 410,
		Explain: "The operation, or the version of the API that it belongs to, is no longer served; the headers Deprecation and Sunset said so on every answer before. With Retry-After it is one of the announced times in which it is switched off to remind of its end.",
		Mend:    "Use what successor names. Link leads to the page that tells what is different.",
	}
	EndpointLimit = ProblemKind{
		Slug: "endpoint-limit", Title: "Too many webhook endpoints", Status: 409,
		Explain: "You have as many webhook endpoints as one owner may have. Nothing was registered.",
		Mend:    "Delete one that you no longer need, and register with a new Idempotency-Key.",
	}
	EndpointDisabled = ProblemKind{
		Slug: "endpoint-disabled", Title: "The webhook endpoint is disabled", Status: 409,
		Explain: "Nothing is sent to a disabled endpoint, so nothing was queued. disabledReason of the endpoint says why it is.",
		Mend:    "Mend the receiver, PATCH the endpoint with status enabled, and repeat the request with a new Idempotency-Key.",
	}
	DependencyUnavailable = ProblemKind{
		Slug: "dependency-unavailable", Title: "Temporarily unavailable", Status: 503,
		Explain: "Something the service needs does not answer. Nothing was done, or it was done whole and a repeat with the same key tells.",
		Mend:    "Repeat the request with the same Idempotency-Key after the seconds in Retry-After.",
	}

	// Overloaded is answered before any work: it says that the service is busy, not that the caller did too much.
	Overloaded = ProblemKind{
		Slug: "temporary-reduced-capacity", Title: "Temporarily not enough capacity", Status: 503,
		Type:    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
		Explain: "More requests are here than can be answered in time. Nothing was done and no quota was used.",
		Mend:    "Repeat the request, with the same Idempotency-Key if it has one, after the seconds in Retry-After.",
	}

	// QuotaExceeded is about one caller: others are served.
	QuotaExceeded = ProblemKind{
		Slug: "quota-exceeded", Title: "Request cannot be satisfied as assigned quota has been exceeded", Status: 429,
		Type:    "https://iana.org/assignments/http-problem-types#quota-exceeded",
		Explain: "You have made as many requests of this kind as you may in the time that RateLimit-Policy names. violated-policies names which. Nothing was done and the request was not counted.",
		Mend:    "Repeat the request, with the same Idempotency-Key if it has one, after the seconds in Retry-After.",
	}

	methodNotAllowed = ProblemKind{Title: http.StatusText(http.StatusMethodNotAllowed), Status: http.StatusMethodNotAllowed, Standard: true}
	notAcceptable    = ProblemKind{Title: http.StatusText(http.StatusNotAcceptable), Status: http.StatusNotAcceptable, Standard: true}
	uriTooLong       = ProblemKind{Title: http.StatusText(http.StatusRequestURITooLong), Status: http.StatusRequestURITooLong, Standard: true}
	requestTimeout   = ProblemKind{Title: http.StatusText(http.StatusRequestTimeout), Status: http.StatusRequestTimeout, Standard: true}
	internalError    = ProblemKind{Title: http.StatusText(http.StatusInternalServerError), Status: http.StatusInternalServerError, Standard: true}
)

// Kinds lists the problems that have a page.
var Kinds = []ProblemKind{
	KeyMissing, KeyInvalid, KeyReused, InFlight, SoldOut, PriceChanged, TooLate, Expired, Validation, Malformed, NotFound,
	Unauthorized, Forbidden, PreconditionFailed, PreconditionRequired, PayloadTooLarge, UnsupportedMediaType, Gone, VersionSunset,
	EndpointLimit, EndpointDisabled, DependencyUnavailable,
}
