/* The vector instructions that scan.c uses, for the processor itself: to run it under sanitizers. */
#include <immintrin.h>
#define EXPORT(name)
typedef __m128i v128_t;
#define wasm_i64x2_const(a,b) _mm_set_epi64x(b,a)
#define wasm_v128_load(p) _mm_loadu_si128((const __m128i*)(p))
#define wasm_v128_load64_zero(p) _mm_loadl_epi64((const __m128i*)(p))
#define wasm_v128_store(p,v) _mm_storeu_si128((__m128i*)(p),v)
#define wasm_v128_and _mm_and_si128
#define wasm_v128_or _mm_or_si128
#define wasm_i32x4_add _mm_add_epi32
#define wasm_i8x16_add _mm_add_epi8
#define wasm_i8x16_sub _mm_sub_epi8
#define wasm_i64x2_add _mm_add_epi64
#define wasm_i8x16_splat(x) _mm_set1_epi8(x)
#define wasm_i8x16_eq _mm_cmpeq_epi8
#define wasm_i8x16_bitmask(v) ((uint32_t)_mm_movemask_epi8(v))
static inline v128_t wasm_u8x16_lt(v128_t a, v128_t b){ return _mm_andnot_si128(_mm_cmpeq_epi8(_mm_max_epu8(a,b),a), _mm_set1_epi8(-1)); }
#define wasm_i8x16_swizzle _mm_shuffle_epi8
static inline v128_t wasm_u64x2_extmul_low_u32x4(v128_t a, v128_t b){ return _mm_mul_epu32(_mm_unpacklo_epi32(a,a),_mm_unpacklo_epi32(b,b)); }
static inline v128_t wasm_u64x2_extmul_high_u32x4(v128_t a, v128_t b){ return _mm_mul_epu32(_mm_unpackhi_epi32(a,a),_mm_unpackhi_epi32(b,b)); }
#define wasm_i64x2_extract_lane(v,i) _mm_extract_epi64(v,i)
#define wasm_i8x16_all_true(v) (_mm_movemask_epi8(v)==0xffff)
