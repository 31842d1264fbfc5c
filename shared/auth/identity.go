// Package auth says who calls and what they may do: bearer tokens (RFC 6750) checked against an OpenID
// provider's keys, scopes and roles, and the one digest that ownership is decided by.
//
// REST and GraphQL ask the same three questions here: Verifier.Verify (who is this?), Policy.Check (may they do this at
// all?) and Policy.Reaches (is this thing there for them?). Whose a cart or an order is is decided by Identity.Key,
// never by comparing shown names.
//
// Read policy.go (who may do what), then identity.go, verifier.go and keys.go.
package auth

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Identity is a verified caller.
type Identity struct {
	// Issuer is the alias of the token's issuer, "" for the one without; of Entra for many tenants, the tenant's id too.
	Issuer string
	// Subject is the claim that names the customer (oid for Entra, else sub).
	Subject string
	// Client is the application that the token was given to, "" when it doesn't say.
	Client string
	// AppOnly says that it acts for itself and no user.
	AppOnly bool
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

// ClientKey is the digest of the application that the caller uses, which is never that of a caller.
func (i Identity) ClientKey() uuid.UUID { return keyOf("client", i.Issuer, i.Client) }

// KeyOf digests an issuer's alias and a subject, each with its length: ("a", "bc") and ("ab", "c") are two
// people, and no character of a subject can reach into a key made from the result. The result is the first 128
// bits of SHA-256, not an RFC 9562 UUID.
func KeyOf(issuer, subject string) uuid.UUID { return keyOf(issuer, subject) }

func keyOf(parts ...string) uuid.UUID {
	h := sha256.New()
	for _, s := range parts {
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

// Why a caller was not let in.
var (
	ErrNoToken      = errors.New("no bearer token")
	ErrBadRequest   = errors.New("malformed authorization")
	ErrInvalidToken = errors.New("invalid token")
	// ErrUnavailable says that the issuer's keys could not be had: the token may be good.
	ErrUnavailable = errors.New("token issuer unavailable")
)
