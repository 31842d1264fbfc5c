package tests

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/resilience/dependency"
)

const resiliencePage = "docs/resilience.md"

// rows are those of the table in a section of a page, without its head.
func rows(page, section string) (list []string) {
	_, page, _ = strings.Cut(page, "\n"+section+"\n")
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "## ") {
			break
		}
		if strings.HasPrefix(line, "| ") {
			list = append(list, line)
		}
	}
	return list[min(1, len(list)):]
}

// The page says what becomes of callers when things break: each line of it must be shown by a test that there is.
func TestTheResiliencePageNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../" + resiliencePage)
	require.NoError(t, err)
	tests, err := testNames(os.DirFS(".."))
	require.NoError(t, err)
	for _, m := range named.FindAllStringSubmatch(string(page), -1) {
		assert.True(t, slices.Contains(tests, m[1]), "%s does not exist", m[1])
	}
	shown := rows(string(page), "## What breaks, how, and what shows it")
	require.Greater(t, len(shown), 20)
	for _, row := range shown {
		assert.True(t, named.MatchString(row), "no test shows it: %s", row)
	}
}

// The page's numbers are the policies'.
func TestTheResiliencePageHasTheNumbersOfThePolicies(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../" + resiliencePage)
	require.NoError(t, err)
	policies := rows(string(page), "## One policy for each dependency")
	for name, p := range map[string]dependency.Policy{
		"PostgreSQL": dependency.PostgreSQL, "Redis": dependency.Redis, "Service Bus": dependency.ServiceBus,
		"Key Vault": dependency.KeyVault, "token issuer": dependency.Issuer,
	} {
		i := slices.IndexFunc(policies, func(row string) bool { return strings.HasPrefix(row, "| "+name) })
		require.GreaterOrEqual(t, i, 0, "%s has no row", name)
		row := policies[i]
		says := []string{p.Call.String()}
		if p.Connect > 0 {
			says = append(says, p.Connect.String())
		}
		if p.Failures > 0 {
			says = append(says, fmt.Sprintf("| %d ", p.Failures), "each "+p.Pause.String())
		}
		if p.Retries > 0 {
			says = append(says, fmt.Sprint(p.Retries), p.Backoff.String())
		} else {
			says = append(says, "| none")
		}
		for _, text := range says {
			assert.Contains(t, row, text, "%s", name)
		}
	}
}
