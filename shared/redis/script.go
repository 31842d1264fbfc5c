package redis

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts so; nothing is kept secret by it
	"encoding/hex"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Script is Lua that runs in Redis and returns a string. It is sent by its digest, and whole only to a server that does
// not know it.
type Script struct{ text, digest any }

// NewScript makes a Script.
func NewScript(text string) *Script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // as above
	return &Script{text: text, digest: hex.EncodeToString(sum[:])}
}

// Words begins a call with a number of keys: append these, then the arguments, and give all to Run. size is how many
// those will be.
func (s *Script) Words(keys, size int) []any {
	return append(make([]any, 0, 3+size), "evalsha", s.digest, keys)
}

// Run runs the script with the words that Words began.
func (s *Script) Run(ctx context.Context, l *Lane, words []any) (string, error) {
	cmd := redis.NewStringCmd(ctx, words...)
	err := l.Do(ctx, cmd)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		words = append([]any{"eval", s.text}, words[2:]...) // the refused command is still the owner of the old ones
		cmd = redis.NewStringCmd(ctx, words...)
		err = l.Do(ctx, cmd)
	}
	if err != nil {
		return "", err
	}
	return cmd.Val(), nil
}
