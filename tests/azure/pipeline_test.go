package azure

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// workflow is a GitHub workflow, as far as the rules look. `make lint` runs actionlint over all of it.
type workflow struct {
	On          any
	Permissions map[string]string
	Jobs        map[string]struct {
		Name, Environment, Uses string
		If                      string
		Needs                   any
		Timeout                 int `yaml:"timeout-minutes"`
		Permissions             map[string]string
		Steps                   []struct {
			Uses, Run string
			With      map[string]any
		}
	}
}

func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	files, err := filepath.Glob("../../.github/workflows/*.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	out := map[string]workflow{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		var w workflow
		require.NoError(t, yaml.Unmarshal(raw, &w), file)
		out[filepath.Base(file)] = w
		// The comment says which version the digits are, for people and for what updates them.
		for _, line := range regexp.MustCompile(`(?m)uses: +(\S+/\S+@.*)$`).FindAllStringSubmatch(string(raw), -1) {
			assert.Regexp(t, `^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`, line[1], file)
		}
		assert.NotContains(t, string(raw), "pull_request_target", "%s: a fork's code would run with our rights", file)
		assert.NotRegexp(t, `client-secret|creds:`, string(raw), "%s: OIDC has no secret", file)
	}
	return out
}

func TestWorkflowsMayDoOnlyWhatTheyMust(t *testing.T) {
	t.Parallel()
	for file, w := range workflows(t) {
		assert.Equal(t, map[string]string{"contents": "read"}, w.Permissions, file)
		for name, job := range w.Jobs {
			if job.Uses == "" {
				assert.Positive(t, job.Timeout, "%s: %s may hang for six hours", file, name)
			}
			signsIn := false
			for _, step := range job.Steps {
				signsIn = signsIn || strings.HasPrefix(step.Uses, "azure/login@")
				if strings.HasPrefix(step.Uses, "actions/checkout@") {
					assert.Equal(t, false, step.With["persist-credentials"], "%s: %s", file, name)
				}
				// What somebody may type is no part of a script.
				assert.NotRegexp(t, `\$\{\{\s*(inputs|github\.event|github\.head_ref)`, step.Run, "%s: %s", file, name)
			}
			if signsIn {
				assert.Equal(t, "write", job.Permissions["id-token"], "%s: %s", file, name)
				assert.NotEmpty(t, job.Environment, "%s: %s: an identity is bound to an environment, which may ask for approval", file, name)
			}
		}
	}
}

// TestTheTenStages holds the deployment against the order that was promised.
func TestTheTenStages(t *testing.T) {
	t.Parallel()
	all := workflows(t)
	deploy := all["deploy.yml"]
	for _, name := range []string{"check", "integration", "security"} {
		assert.Contains(t, all["ci.yml"].Jobs, name, "stages 1 to 3")
	}
	assert.Equal(t, "./.github/workflows/ci.yml", deploy.Jobs["ci"].Uses)
	before := map[string]string{"infrastructure": "package", "canary": "infrastructure", "gate": "canary", "promote": "gate", "load": "promote", "smoke": "load"}
	number := 5
	for _, name := range []string{"infrastructure", "canary", "gate", "promote", "load", "smoke"} {
		job, there := deploy.Jobs[name]
		require.True(t, there, name)
		assert.True(t, strings.HasPrefix(job.Name, strconv.Itoa(number)+" "), job.Name)
		assert.Contains(t, needs(job.Needs), before[name])
		number++
	}
	rollback := deploy.Jobs["rollback"]
	for _, name := range []string{"canary", "gate", "promote", "load", "smoke"} {
		assert.Contains(t, needs(rollback.Needs), name)
		assert.Contains(t, rollback.If, "needs."+name+".result == 'failure'")
	}
}

func needs(value any) (out []string) {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		for _, one := range v {
			out = append(out, one.(string))
		}
	}
	return out
}

// TestScriptsAreWhole: every script that a workflow or a page names is there, can be executed and is a script to its
// shell; and the gateway's pools that they change are Bicep's.
func TestScriptsAreWhole(t *testing.T) {
	t.Parallel()
	var texts []string
	for _, pattern := range []string{"../../.github/workflows/*.yml", "../../infra/README.md"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			texts = append(texts, string(raw))
		}
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`infra/scripts/[\w.]+`).FindAllString(strings.Join(texts, "\n"), -1) {
		named[strings.TrimSuffix(m, ".")] = true
	}
	for name := range named {
		info, err := os.Stat("../../" + name)
		if assert.NoError(t, err, name) && strings.HasSuffix(name, ".sh") {
			assert.NotZero(t, info.Mode()&0o111, "%s cannot be executed", name)
		}
	}
	scripts, err := filepath.Glob("../../infra/scripts/*.sh")
	require.NoError(t, err)
	for _, script := range append(scripts, "../../infra/database/bootstrap.sh") {
		out, err := exec.CommandContext(t.Context(), "bash", "-n", script).CombinedOutput()
		assert.NoError(t, err, "%s", out)
		if filepath.Dir(script) == "../../infra/scripts" {
			assert.True(t, named["infra/scripts/"+filepath.Base(script)], "%s is named nowhere", script)
		}
	}
	weight, err := os.ReadFile("../../infra/scripts/weight.sh")
	require.NoError(t, err)
	list := regexp.MustCompile(`for surface in ([^;]+);`).FindStringSubmatch(string(weight))
	require.NotNil(t, list)
	surfaces := strings.Fields(list[1])
	slices.Sort(surfaces)
	each(t, func(s snapshot) {
		t := s.t
		var pools []string
		for _, b := range s.all("Microsoft.ApiManagement/service/backends") {
			if surface, ok := strings.CutSuffix(filepath.Base(b.Name), "-primary"); ok && b.text("type") == "Pool" {
				pools = append(pools, surface)
			}
		}
		slices.Sort(pools)
		assert.Equal(t, pools, surfaces)
	})
}

// TestTheDockerfileKeepsTheRules that a linter would have: what CI's hadolint says is not known on every machine.
func TestTheDockerfileKeepsTheRules(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../Dockerfile")
	require.NoError(t, err)
	text := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(string(raw), " ")
	var froms []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		assert.Contains(t, []string{"FROM", "WORKDIR", "COPY", "RUN", "ARG", "ENV", "EXPOSE"}, word, "no ADD, no shell form of CMD, no MAINTAINER")
		switch word {
		case "FROM":
			froms = append(froms, rest)
			assert.Regexp(t, `^[\w./-]+:\d[\w.-]*( AS \w+)?$`, rest, "a version, and not the latest")
		case "WORKDIR":
			assert.True(t, strings.HasPrefix(rest, "/"), rest)
		case "RUN":
			assert.NotContains(t, rest, "sudo")
		case "ENV", "ARG":
			assert.NotRegexp(t, `(?i)secret|password|connection`, rest, "an image's history tells everything")
		}
	}
	require.Len(t, froms, 2, "what builds is not what runs")
	assert.Equal(t, "mcr.microsoft.com/azure-functions/dotnet:4", froms[1])
	assert.Contains(t, text, "COPY --from=build /src/dist /home/site/wwwroot")
	assert.Contains(t, text, "AzureWebJobsScriptRoot=/home/site/wwwroot")
	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../../go.mod"))
	assert.True(t, strings.HasPrefix(froms[0], "golang:"+goVersion[1]+"-"), "%s builds with another Go than go.mod asks for", froms[0])
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(raw)
}
