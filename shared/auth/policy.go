package auth

import (
	"errors"
	"slices"

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

// Reach says whose things a policy opens to a caller whom it lets in. The zero value is the narrowest.
type Reach int

// Whose things.
const (
	Own        Reach = iota // the caller's; everybody else's are not there, for an admin neither
	OwnOrAdmin              // the caller's, and with the role admin anybody's
	Everyones               // nobody owns them, or who is let in works for the shop
)

// String implements fmt.Stringer.
func (r Reach) String() string {
	switch r {
	case OwnOrAdmin:
		return "own, an admin anyone's"
	case Everyones:
		return "everyone's"
	default:
		return "own"
	}
}

// Policy is what an operation asks of its caller, and whose things it then opens; the zero value asks for any valid
// token and opens the caller's own.
type Policy struct {
	Name  string
	Scope string // a scope the token must carry
	Role  string // a role the token must carry as well
	Reach Reach
}

// The policies of the service's operations, over REST and over GraphQL. Policies lists them.
var (
	AnyToken     = Policy{Name: "any-token"}
	CatalogRead  = Policy{Name: "catalog:read", Scope: ScopeCatalogRead, Reach: Everyones}
	CatalogWrite = Policy{Name: "catalog:write", Scope: ScopeCatalogWrite, Reach: Everyones}
	OrderRead    = Policy{Name: "order:read", Scope: ScopeOrderRead, Reach: OwnOrAdmin}
	OrderWrite   = Policy{Name: "order:write", Scope: ScopeOrderWrite, Reach: OwnOrAdmin}
	// OrderFollow is for the requests of orders that were queued: whoever made one may ask for it, nobody else.
	OrderFollow  = Policy{Name: "order:follow", Scope: ScopeOrderWrite}
	OrderCancel  = Policy{Name: "order:cancel", Scope: ScopeOrderCancel, Reach: OwnOrAdmin}
	OrderConfirm = Policy{Name: "order:confirm", Scope: ScopeOrderWrite, Role: RoleAdmin, Reach: Everyones}
	Operate      = Policy{Name: "operate", Role: RoleAdmin, Reach: Everyones}
	// WebhookOwn lets who registered an endpoint manage it, WebhookAll hear all customers' events.
	WebhookOwn = Policy{Name: "webhook:manage", Scope: ScopeWebhookManage, Reach: OwnOrAdmin}
	WebhookAll = Policy{Name: "webhook:all", Scope: ScopeWebhookManage, Role: RoleAdmin, Reach: Everyones}
)

var policies = []Policy{
	AnyToken, CatalogRead, CatalogWrite, OrderRead, OrderWrite, OrderFollow, OrderCancel, OrderConfirm, Operate, WebhookOwn, WebhookAll,
}

// Policies lists all policies. A test asks that every operation's is among them.
func Policies() []Policy { return slices.Clone(policies) }

// PolicyNamed finds a policy by its name, as a schema's directive does.
func PolicyNamed(name string) (Policy, bool) {
	for _, p := range policies {
		if p.Name == name {
			return p, true
		}
	}
	return Policy{}, false
}

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

// Reaches tells whether a thing of owner (Identity.Key) is there for the caller. When it isn't, the answer is the one
// for a thing that never was: which ids exist is nobody's business.
func (p Policy) Reaches(i Identity, owner uuid.UUID) bool { return owner == i.Key() || p.ReachesAll(i) }

// ReachesAll tells whether everybody's things are there for the caller.
func (p Policy) ReachesAll(i Identity) bool {
	return p.Reach == Everyones || p.Reach == OwnOrAdmin && i.Admin()
}

// ErrForbidden is what every ForbiddenError is.
var ErrForbidden = errors.New("not allowed")

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
