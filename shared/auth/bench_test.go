package auth

import (
	"fmt"
	"testing"
)

// BenchmarkVerify is what a request pays for its token: one that was seen before, and one that is new.
func BenchmarkVerify(b *testing.B) {
	p, v := serve(b)
	b.Run("remembered", func(b *testing.B) {
		token := p.Token(nil, nil)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := v.Verify(b.Context(), token); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("new", func(b *testing.B) {
		tokens := make([]string, b.N)
		for i := range tokens {
			tokens[i] = p.Token(object{"alg": "RS256"}, object{"sub": fmt.Sprint("customer-", i)})
		}
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			if _, err := v.Verify(b.Context(), tokens[i]); err != nil {
				b.Fatal(err)
			}
		}
	})
}
