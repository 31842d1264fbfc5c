package signature

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestKeysDontPrint: however a key or a struct around it gets into a line of the log, the secret does not.
func TestKeysDontPrint(t *testing.T) {
	t.Parallel()
	for _, key := range []Key{NewSecret(), NewEd25519()} {
		raw := key.secret
		if raw == nil {
			raw = key.private.Seed()
		}
		type row struct{ K Key }
		var log bytes.Buffer
		for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(h).Info("a key", "key", key, "row", row{key}, "list", []Key{key})
		}
		asJSON, err := json.Marshal(row{key})
		require.NoError(t, err)
		printed := log.String() + string(asJSON) +
			fmt.Sprintf("%v %+v %#v %s %q %v %+v %#v", key, key, key, key, key, row{key}, row{key}, row{key})
		for _, form := range []string{
			key.Text()[6:20], base64.RawURLEncoding.EncodeToString(raw)[:14], hex.EncodeToString(raw)[:14],
			strings.Trim(fmt.Sprintf("%d", raw[:4]), "[]"), fmt.Sprintf("%#v", raw[:4])[7:20],
		} {
			assert.NotContains(t, printed, form)
		}
	}
	assert.Equal(t, "whsec_...", fmt.Sprint(NewSecret()))
}
