package auth

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestJW05PolicyNamesWhatIsLacking(t *testing.T) {
	t.Parallel()
	user := Identity{Scopes: []string{ScopeOrderRead, RoleAdmin}, Roles: []string{ScopeOrderWrite}}
	require.NoError(t, AnyToken.Check(Identity{}))
	require.NoError(t, OrderRead.Check(user))
	var lacks *ForbiddenError
	require.ErrorAs(t, OrderWrite.Check(user), &lacks)
	assert.Equal(t, ForbiddenError{Scope: ScopeOrderWrite}, *lacks)
	require.ErrorIs(t, lacks, ErrForbidden)
	user.Scopes = append(user.Scopes, ScopeOrderWrite)
	require.ErrorAs(t, OrderConfirm.Check(user), &lacks, "the scope named admin is not the role")
	assert.Equal(t, RoleAdmin, lacks.Role)
	assert.False(t, user.Admin())
	user.Roles = append(user.Roles, RoleAdmin)
	require.NoError(t, OrderConfirm.Check(user))
	assert.True(t, user.Admin())
}

// P5: who reaches whose things. What an admin may is the policy's to say, not the role's.
func TestReachIsThePolicys(t *testing.T) {
	t.Parallel()
	ada, ben, boss := Identity{Subject: "ada"}, Identity{Subject: "ben"}, Identity{Subject: "boss", Roles: []string{RoleAdmin}}
	sameName := Identity{Issuer: "partner", Subject: "ada"}
	for _, c := range []struct {
		reach            Reach
		stranger, anyone bool // may a stranger, or an admin, reach ada's?
	}{
		{Own, false, false},
		{OwnOrAdmin, false, true},
		{Everyones, true, true},
	} {
		p := Policy{Reach: c.reach}
		assert.True(t, p.Reaches(ada, ada.Key()), "%s", c.reach)
		assert.Equal(t, c.stranger, p.Reaches(ben, ada.Key()), "%s", c.reach)
		assert.Equal(t, c.stranger, p.Reaches(sameName, ada.Key()), "another issuer's ada is another person: %s", c.reach)
		assert.Equal(t, c.anyone, p.Reaches(boss, ada.Key()), "%s", c.reach)
		assert.Equal(t, c.stranger, p.ReachesAll(ada), "%s", c.reach)
		assert.Equal(t, c.anyone, p.ReachesAll(boss), "%s", c.reach)
	}
	assert.False(t, Policy{}.Reaches(boss, ada.Key()), "what nobody has thought about reaches the caller's own")
}

func TestPoliciesAreFoundByName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range Policies() {
		assert.NotEmpty(t, p.Name)
		assert.False(t, seen[p.Name], "two policies named %s", p.Name)
		seen[p.Name] = true
		found, ok := PolicyNamed(p.Name)
		assert.True(t, ok)
		assert.Equal(t, p, found)
	}
	_, ok := PolicyNamed("nobody's")
	assert.False(t, ok)
	Policies()[0].Scope = "changed"
	assert.Equal(t, AnyToken, Policies()[0], "the table is nobody's to change")
}

// docs/security.md shows the table as it is.
func TestThePagesTableIsThePolicies(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/security.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(raw), "\n## Who may do what\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	var shown []string
	for line := range strings.SplitSeq(section, "\n") {
		if strings.HasPrefix(line, "| `") {
			shown = append(shown, strings.ReplaceAll(line, "`", ""))
		}
	}
	var want []string
	for _, p := range Policies() {
		want = append(want, fmt.Sprintf("| %s | %s | %s | %s |", p.Name, p.Scope, p.Role, p.Reach))
	}
	assert.Equal(t, want, shown)
}
