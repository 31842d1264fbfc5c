package webhooks

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/events"
	"github.com/company/order-catalog-service/shared/rest"
)

const (
	base     = "/api/v1/webhooks"
	feedPath = "/api/v1/events"
	tag      = "Webhooks"
)

func (w *Webhooks) register() {
	own, all := &auth.WebhookOwn, &auth.WebhookAll
	missing := []rest.ProblemKind{rest.NotFound}
	refused := []rest.ProblemKind{rest.NotFound, rest.EndpointDisabled}
	rest.Register(w.API, rest.Operation{
		ID: "register-webhook", Method: http.MethodPost, Path: base + "/register", Tag: tag, Policy: all, Keyed: true,
		Summary:     "Register an endpoint for events",
		Description: "Deliveries are signed as Standard Webhooks says. The secret is shown in this answer and never again; a repeat with the same key shows it for 24 hours.",
		Status:      http.StatusCreated, Response: Registered{}, Problems: []rest.ProblemKind{rest.EndpointLimit},
	}, w.create)
	rest.Register(w.API, rest.Operation{
		ID: "list-webhooks", Method: http.MethodGet, Path: base, Tag: tag, Policy: own,
		Summary: "List your endpoints, newest first", Description: "An admin sees everybody's.",
		Status: http.StatusOK, Response: EndpointPage{}, NotModified: true,
	}, w.list)
	rest.Register(w.API, rest.Operation{
		ID: "read-webhook", Method: http.MethodGet, Path: base + "/{id}", Tag: tag, Policy: own,
		Summary: "Read an endpoint", Status: http.StatusOK, Response: Endpoint{}, NotModified: true, Problems: missing,
	}, w.read)
	rest.Register(w.API, rest.Operation{
		ID: "change-webhook", Method: http.MethodPatch, Path: base + "/{id}", Tag: tag, Policy: own, Keyed: true,
		Summary:     "Change an endpoint, disable or enable it",
		Description: "Disabling ends what is pending as dead, with the reason; replay brings it back after enabling.",
		Status:      http.StatusOK, Response: Endpoint{}, Problems: missing, IfMatch: rest.MayMatch,
	}, w.change)
	rest.Register(w.API, rest.Operation{
		ID: "delete-webhook", Method: http.MethodDelete, Path: base + "/{id}", Tag: tag, Policy: own, Keyed: true,
		Summary: "Delete an endpoint", Status: http.StatusNoContent, Problems: missing, IfMatch: rest.MayMatch,
	}, w.remove)
	rest.Register(w.API, rest.Operation{
		ID: "rotate-webhook-secret", Method: http.MethodPost, Path: base + "/{id}/rotate-secret", Tag: tag, Policy: own, Keyed: true,
		Summary:     "Give an endpoint a new secret",
		Description: "Until previousSecretExpiresAt every delivery carries a signature by each of the two, so that receivers can change over one by one.",
		Status:      http.StatusOK, Response: Rotated{}, Problems: missing,
	}, w.rotate)
	rest.Register(w.API, rest.Operation{
		ID: "test-webhook", Method: http.MethodPost, Path: base + "/{id}/test", Tag: tag, Policy: own, Keyed: true,
		Summary: "Send a test event", Description: "Its data says `test: true`. It goes to this endpoint alone.",
		Status: http.StatusAccepted, Response: Delivery{}, Problems: refused,
	}, w.test)
	rest.Register(w.API, rest.Operation{
		ID: "replay-webhook", Method: http.MethodPost, Path: base + "/{id}/replay", Tag: tag, Policy: own, Keyed: true,
		Summary:     "Send again",
		Description: "One delivery, one event, the events of a range of time (also those that the endpoint never heard of), or all that are dead. Ids stay: a receiver that has seen one knows it.",
		Status:      http.StatusAccepted, Response: Replayed{}, Problems: refused,
	}, w.replay)
	rest.Register(w.API, rest.Operation{
		ID: "list-webhook-deliveries", Method: http.MethodGet, Path: base + "/{id}/deliveries", Tag: tag, Policy: own,
		Summary: "List an endpoint's deliveries with their attempts, newest event first", Status: http.StatusOK, Response: DeliveryPage{}, NotModified: true, Problems: missing,
	}, w.deliveries)
	rest.Register(w.API, rest.Operation{
		ID: "read-webhook-delivery", Method: http.MethodGet, Path: base + "/{id}/deliveries/{deliveryId}", Tag: tag, Policy: own,
		Summary: "Read a delivery with its attempts", Status: http.StatusOK, Response: Delivery{}, NotModified: true, Problems: missing,
	}, w.delivery)
	rest.Register(w.API, rest.Operation{
		ID: "read-events", Method: http.MethodGet, Path: feedPath, Tag: "Events", Policy: all,
		Summary: "Read all events, without gaps",
		Description: "Who has read up to `next` has seen everything before it. Send `next` as `since` for the following page, and again later when it stays the same: that is the end. " +
			"Events are kept for at least 30 days.",
		Status: http.StatusOK, Response: Feed{}, NotModified: true, Problems: []rest.ProblemKind{rest.Gone},
	}, w.feed)
	w.API.Event(events.WebhookDisabled, "A webhook endpoint was disabled", events.EndpointDisabled{})
}

// Registered is a new endpoint with its secret.
type Registered struct {
	Endpoint
	Secret string `json:"secret,omitempty" doc:"Signs the deliveries (HMAC-SHA256); absent for ed25519, whose publicKey verifies them"`
}

// Rotated is what a rotation made.
type Rotated struct {
	Secret                  string    `json:"secret,omitempty" doc:"The new secret; absent for ed25519"`
	PublicKey               string    `json:"publicKey,omitempty" doc:"The new public key of an ed25519 endpoint"`
	PreviousSecretExpiresAt time.Time `json:"previousSecretExpiresAt" doc:"Until then deliveries are signed with the former one too"`
}

// EndpointPage is a part of a list of endpoints.
type EndpointPage struct {
	Items      []Endpoint `json:"items"`
	NextCursor string     `json:"nextCursor,omitempty" doc:"Goes on from here; absent on the last page"`
}

type registerInput struct {
	Body struct {
		URL         string   `json:"url" minLength:"1" maxLength:"2048" doc:"https, on the public internet" example:"https://example.com/hooks"`
		Events      []string `json:"events" minItems:"1" maxItems:"50" doc:"Types of events, or * for all" example:"[\"order.created.v1\"]"`
		Description string   `json:"description,omitempty" maxLength:"500"`
		Signature   string   `json:"signature,omitempty" enum:"hmac,ed25519" default:"hmac"`
		CustomerID  string   `json:"customerId,omitempty" minLength:"1" maxLength:"255" doc:"Only this customer's events"`
	}
}

type endpointInput struct {
	ID uuid.UUID `path:"id" format:"uuid"`
}

type changeEndpointInput struct {
	ID   uuid.UUID `path:"id" format:"uuid"`
	Body struct {
		URL         *string   `json:"url,omitempty" minLength:"1" maxLength:"2048"`
		Events      *[]string `json:"events,omitempty" minItems:"1" maxItems:"50"`
		Description *string   `json:"description,omitempty" maxLength:"500"`
		Status      *string   `json:"status,omitempty" enum:"enabled,disabled"`
	}
}

type rotateInput struct {
	ID   uuid.UUID `path:"id" format:"uuid"`
	Body struct {
		OverlapSeconds *int64 `json:"overlapSeconds,omitempty" minimum:"0" maximum:"604800" doc:"How long the former secret signs too; default 86400, 0 ends it now"`
	}
}

type testInput struct {
	ID   uuid.UUID `path:"id" format:"uuid"`
	Body struct {
		EventType string `json:"eventType,omitempty" maxLength:"100" doc:"Type to give the event; default webhook.test.v1"`
	}
}
