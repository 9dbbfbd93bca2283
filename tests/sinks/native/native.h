/* The vector instructions that transcode.c uses, for the processor itself: to run it under sanitizers. */
#include <immintrin.h>
#define EXPORT(name)
typedef __m128i v128_t;
#define wasm_v128_load(p) _mm_loadu_si128((const __m128i*)(p))
#define wasm_v128_store(p,v) _mm_storeu_si128((__m128i*)(p),v)
#define wasm_v128_or _mm_or_si128
#define wasm_i8x16_splat(x) _mm_set1_epi8(x)
#define wasm_i8x16_eq _mm_cmpeq_epi8
#define wasm_i8x16_lt(a,b) _mm_cmpgt_epi8(b,a)
#define wasm_i8x16_bitmask(v) ((uint32_t)_mm_movemask_epi8(v))
