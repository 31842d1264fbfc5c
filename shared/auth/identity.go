// Package auth says who calls and what they may do: bearer tokens (RFC 6750) checked against an OpenID
// provider's keys, scopes and roles, and the one digest that ownership is decided by.
//
// REST and GraphQL ask the same two questions here: Verifier.Verify (who is this?) and Policy.Check (may they?).
// Whether a cart or an order is the caller's is decided by Identity.Key, never by comparing shown names.
package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Roles and scopes that tokens carry.
const (
	RoleAdmin = "admin"

	ScopeCatalogRead   = "catalog:read"
	ScopeCatalogWrite  = "catalog:write"
	ScopeOrderRead     = "order:read"
	ScopeOrderWrite    = "order:write"
	ScopeOrderCancel   = "order:cancel"
	ScopeWebhookManage = "webhook:manage"
)

// Identity is a verified caller.
type Identity struct {
	// Issuer is the alias of the token's issuer, "" for the first one configured.
	Issuer string
	// Subject is the claim that names the customer (oid for Entra, else sub).
	Subject string
	Scopes  []string
	Roles   []string
	Expires time.Time
}

// CustomerID is the caller as shown to people and in customerId.
func (i Identity) CustomerID() string {
	if i.Issuer == "" {
		return i.Subject
	}
	return i.Issuer + "|" + i.Subject
}

// Key is the digest of (issuer, subject) that rows carry and that every key of a cache or lock is made from.
func (i Identity) Key() uuid.UUID { return KeyOf(i.Issuer, i.Subject) }

// KeyOf digests an issuer's alias and a subject, each with its length: ("a", "bc") and ("ab", "c") are two
// people, and no character of a subject can reach into a key made from the result. The result is the first 128
// bits of SHA-256, not an RFC 9562 UUID.
func KeyOf(issuer, subject string) uuid.UUID {
	h := sha256.New()
	for _, s := range [...]string{issuer, subject} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return uuid.UUID(h.Sum(nil)[:16])
}

// Has tells whether the token carries the scope.
func (i Identity) Has(scope string) bool { return slices.Contains(i.Scopes, scope) }

// Admin tells whether the caller may act for others.
func (i Identity) Admin() bool { return slices.Contains(i.Roles, RoleAdmin) }

// Policy is what an operation asks of its caller; the zero value asks for any valid token.
type Policy struct {
	Scope string // a scope the token must carry
	Role  string // a role the token must carry as well
}

// The policies of the service's operations.
var (
	AnyToken     = Policy{}
	CatalogRead  = Policy{Scope: ScopeCatalogRead}
	CatalogWrite = Policy{Scope: ScopeCatalogWrite}
	OrderRead    = Policy{Scope: ScopeOrderRead}
	OrderWrite   = Policy{Scope: ScopeOrderWrite}
	OrderCancel  = Policy{Scope: ScopeOrderCancel}
	OrderConfirm = Policy{Scope: ScopeOrderWrite, Role: RoleAdmin}
	Operate      = Policy{Role: RoleAdmin}
	// WebhookOwn lets who registered an endpoint manage it, WebhookAll hear all customers' events.
	WebhookOwn = Policy{Scope: ScopeWebhookManage}
	WebhookAll = Policy{Scope: ScopeWebhookManage, Role: RoleAdmin}
)

// Check is nil when the policy lets the caller in, else an error that is ErrForbidden.
func (p Policy) Check(i Identity) error {
	if p.Scope != "" && !i.Has(p.Scope) {
		return &ForbiddenError{Scope: p.Scope}
	}
	if p.Role != "" && !slices.Contains(i.Roles, p.Role) {
		return &ForbiddenError{Scope: p.Scope, Role: p.Role}
	}
	return nil
}

// Why a caller was not let in.
var (
	ErrNoToken      = errors.New("no bearer token")
	ErrBadRequest   = errors.New("malformed authorization")
	ErrInvalidToken = errors.New("invalid token")
	ErrForbidden    = errors.New("not allowed")
	// ErrUnavailable says that the issuer's keys could not be had: the token may be good.
	ErrUnavailable = errors.New("token issuer unavailable")
)

// ForbiddenError names what the token lacks. It is ErrForbidden.
type ForbiddenError struct{ Scope, Role string }

// Error implements error.
func (e *ForbiddenError) Error() string {
	if e.Role != "" {
		return "the token lacks the role " + e.Role
	}
	return "the token lacks the scope " + e.Scope
}

// Is makes every ForbiddenError an ErrForbidden.
func (e *ForbiddenError) Is(target error) bool { return target == ErrForbidden }
