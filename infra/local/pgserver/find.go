package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	embedded "github.com/fergusstrange/embedded-postgres"

	"github.com/company/order-catalog-service/infra/local/child"
)

// oldest is the first major version that has all we use.
const oldest = 15

// Find returns the folder of PostgreSQL's server binaries: PG_BIN, PATH, the usual places of distributions; else
// it installs them by the system's package manager where that needs no password; else it downloads them.
func Find(ctx context.Context, log func(string)) (string, error) {
	if dir := os.Getenv("PG_BIN"); dir != "" {
		if version(ctx, dir) >= oldest {
			return dir, nil
		}
		return "", fmt.Errorf("PG_BIN=%s holds no PostgreSQL server of version %d or later", dir, oldest)
	}
	if dir := installed(ctx); dir != "" {
		return dir, nil
	}
	if err := install(ctx, log); err != nil {
		log("no package manager could install PostgreSQL: " + err.Error())
	} else if dir := installed(ctx); dir != "" {
		return dir, nil
	}
	dir, err := download(log)
	if err != nil {
		return "", fmt.Errorf("no PostgreSQL %d or later here and none could be had (%w): install it, name its folder in PG_BIN, or set DATABASE_URL", oldest, err)
	}
	return dir, nil
}

// installed is the newest version on the machine, "" when there is none.
func installed(ctx context.Context) string {
	var candidates []string
	if path, err := exec.LookPath("postgres"); err == nil {
		candidates = append(candidates, filepath.Dir(path))
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
	} {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		candidates = append(candidates, found...)
	}
	best, at := 0, ""
	for _, dir := range candidates {
		if v := version(ctx, dir); v > best {
			best, at = v, dir
		}
	}
	if best < oldest {
		return ""
	}
	return at
}

var majorVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// version is the major version of the server in dir, 0 when there is none or it lacks initdb.
func version(ctx context.Context, dir string) int {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec // a server found by us
	if err != nil {
		return 0
	}
	m := majorVersion.FindSubmatch(out)
	if m == nil {
		return 0
	}
	v, _ := strconv.Atoi(string(m[1])) // digits, by the pattern
	return v
}

// install asks the package managers that can work without a password.
func install(ctx context.Context, log func(string)) error {
	managers := [][]string{
		{"apt-get", "install", "-y", "--no-install-recommends", "postgresql"},
		{"dnf", "install", "-y", "postgresql-server"},
		{"apk", "add", "postgresql"},
	}
	var tried []error
	for _, command := range managers {
		if _, err := exec.LookPath(command[0]); err != nil {
			continue
		}
		if os.Geteuid() != 0 {
			if exec.CommandContext(ctx, "sudo", "-n", "true").Run() != nil {
				tried = append(tried, fmt.Errorf("%s needs root", command[0]))
				continue
			}
			command = slices.Concat([]string{"sudo", "-n"}, command)
		}
		log("installing PostgreSQL: " + fmt.Sprint(command))
		out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput() //nolint:gosec // the list above
		if err == nil {
			return nil
		}
		tried = append(tried, fmt.Errorf("%v: %w: %s", command, err, out))
	}
	if len(tried) == 0 {
		return errors.New("none found")
	}
	return errors.Join(tried...)
}

// download lets embedded-postgres fetch and unpack a release, and uses its binaries.
func download(log func(string)) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a folder for the download: %w", err)
	}
	dir := filepath.Join(cache, "order-catalog-postgres")
	if _, err := os.Stat(filepath.Join(dir, "bin", "initdb")); err == nil {
		return filepath.Join(dir, "bin"), nil
	}
	log("downloading PostgreSQL to " + dir)
	port, err := freePort()
	if err != nil {
		return "", err
	}
	// The library has no "fetch only": start it once on a port of its own, and stop it.
	server := embedded.NewDatabase(embedded.DefaultConfig().BinariesPath(dir).Port(port).DataPath(filepath.Join(dir, "once")).RuntimePath(filepath.Join(dir, "run")))
	if err := server.Start(); err != nil {
		return "", err
	}
	if err := server.Stop(); err != nil {
		return "", err
	}
	return filepath.Join(dir, "bin"), nil
}

func freePort() (uint32, error) {
	port, err := child.FreePort()
	return uint32(port), err //nolint:gosec // a port has 16 bits
}
