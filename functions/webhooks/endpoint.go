package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/secretbox"
	"github.com/company/order-catalog-service/shared/signature"
)

// MaxEndpoints is how many endpoints one owner may have.
const MaxEndpoints = 50

// The states of an endpoint that can be seen.
const (
	enabled  = "enabled"
	disabled = "disabled"
)

// everything in Events subscribes to all types, those to come included.
const everything = "*"

// Endpoint is where deliveries go.
type Endpoint struct {
	ID             uuid.UUID `json:"id"`
	URL            string    `json:"url"`
	Events         []string  `json:"events" doc:"Types it hears of; * is all of them"`
	Description    string    `json:"description,omitempty"`
	CustomerID     string    `json:"customerId,omitempty" doc:"Only this customer's events"`
	Signature      string    `json:"signature" enum:"hmac,ed25519"`
	PublicKey      string    `json:"publicKey,omitempty" doc:"Verifies the deliveries of an ed25519 endpoint"`
	Status         string    `json:"status" enum:"enabled,disabled"`
	DisabledReason string    `json:"disabledReason,omitempty"`
	Owner          string    `json:"owner" doc:"Who registered it"`
	CreatedAt      time.Time `json:"createdAt"`
	UpdatedAt      time.Time `json:"updatedAt"`

	ownerKey uuid.UUID
	version  int64
}

// columns of an endpoint as scanEndpoint reads them.
const columns = `id, url, events, description, COALESCE(customer_id, ''), signature, COALESCE(public_key, ''), status,
       COALESCE(disabled_reason, ''), owner, created_at, updated_at, owner_key, version`

func scanEndpoint(row pgx.CollectableRow) (e Endpoint, err error) {
	err = row.Scan(&e.ID, &e.URL, &e.Events, &e.Description, &e.CustomerID, &e.Signature, &e.PublicKey, &e.Status,
		&e.DisabledReason, &e.Owner, &e.CreatedAt, &e.UpdatedAt, &e.ownerKey, &e.version)
	e.CreatedAt, e.UpdatedAt = e.CreatedAt.UTC(), e.UpdatedAt.UTC()
	return e, err
}

const (
	readSQL = `/* Webhooks.Read */ SELECT ` + columns + ` FROM webhook_endpoints WHERE id = $1 AND status <> 'deleted'`
	lockSQL = `/* Webhooks.Lock */ SELECT ` + columns + ` FROM webhook_endpoints WHERE id = $1 AND status <> 'deleted' FOR NO KEY UPDATE`
)

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// visible reads an endpoint that the caller may manage. Somebody else's is as absent as one that never was: which
// ids exist is nobody's business.
func visible(ctx context.Context, q querier, sql string, id uuid.UUID, caller auth.Identity) (Endpoint, error) {
	rows, err := q.Query(ctx, sql, id)
	if err != nil {
		return Endpoint{}, err
	}
	e, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && !auth.WebhookOwn.Reaches(caller, e.ownerKey) {
		return Endpoint{}, notFound()
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("reading webhook endpoint %s: %w", id, err)
	}
	return e, nil
}

func notFound() *rest.Problem {
	return rest.NewProblem(rest.NotFound, "There is no such webhook endpoint, or it is not yours.")
}

func isDisabled(e Endpoint) *rest.Problem {
	return rest.NewProblem(rest.EndpointDisabled, "The endpoint is disabled: %s.", e.DisabledReason)
}

// newKey makes the key that an endpoint's deliveries are signed with, sealed for its row, and what its owner gets
// of it: a shared secret, or the public half.
func newKey(box *secretbox.Box, endpoint uuid.UUID, kind string) (sealed []byte, secret, public string) {
	key := signature.NewSecret()
	if kind == "ed25519" {
		key = signature.NewEd25519()
		half, _ := key.PublicKey()
		public = half.Text()
	} else {
		secret = key.Text()
	}
	return box.Seal([]byte(key.Text()), endpoint[:]), secret, public
}

// openKeys opens the keys that sign at this moment: the new one, and the former one while its overlap lasts.
func openKeys(box *secretbox.Box, endpoint uuid.UUID, sealed ...[]byte) (keys []signature.Key, err error) {
	for _, raw := range sealed {
		if raw == nil {
			continue
		}
		text, err := box.Open(raw, endpoint[:])
		if err != nil {
			return nil, fmt.Errorf("the secret of webhook endpoint %s: %w", endpoint, err)
		}
		key, err := signature.ParseKey(string(text))
		if err != nil {
			return nil, fmt.Errorf("the secret of webhook endpoint %s: %w", endpoint, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
