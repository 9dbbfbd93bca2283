"""The settings that Fluent Bit 5.1 documents for what the recipes use; it refuses to start with any other."""

from __future__ import annotations

from logllm.doctor.fluentbit import FORWARD_KEYS


def _keys(text: str) -> frozenset[str]:
    return frozenset(text.split())


SERVICE = _keys(
    "coro_stack_size daemon dns.mode dns.prefer_ipv4 dns.prefer_ipv6 dns.resolver enable_chunk_trace flush grace "
    "hc_errors_count hc_period hc_retry_failure_count health_check hot_reload hot_reload.ensure_thread_safety "
    "hot_reload.timeout http_listen http_port http_server json.convert_nan_to_null json.escape_unicode log_file "
    "log_level multiline_buffer_limit parsers_file plugins_file scheduler.base scheduler.cap "
    "sp.convert_from_str_to_num streams_file storage.backlog.flush_on_shutdown storage.backlog.mem_limit "
    "storage.checksum storage.delete_irrecoverable_chunks storage.inherit storage.keep.rejected storage.max_chunks_up "
    "storage.metrics storage.path storage.rejected.path storage.sync storage.trim_files storage.type"
)

_EVERY_INPUT = _keys("name tag alias log_level mem_buf_limit storage.type storage.pause_on_chunks_overlimit threaded")
_TLS = _keys(
    "tls tls.verify tls.verify_hostname tls.debug tls.ca_file tls.ca_path tls.crt_file tls.key_file tls.key_passwd "
    "tls.vhost"
)

INPUTS = {
    "tail": _EVERY_INPUT
    | _keys(
        "buffer_chunk_size buffer_max_size path path_key exclude_path offset_key read_from_head refresh_interval "
        "rotate_wait ignore_older ignore_active_older_files skip_long_lines skip_empty_lines db db.sync db.locking "
        "db.journal_mode db.compare_filename exit_on_eof parser key inotify_watcher tag_regex static_batch_size "
        "multiline.parser"
    ),
    "systemd": _EVERY_INPUT
    | _keys(
        "path max_fields max_entries systemd_filter systemd_filter_type db db.sync read_from_tail lowercase "
        "strip_underscores"
    ),
    "forward": _EVERY_INPUT
    | _TLS
    | _keys(
        "listen port unix_path unix_perm buffer_max_size buffer_chunk_size tag_prefix shared_key empty_shared_key "
        "self_hostname security.users net.io_timeout net.backlog"
    ),
}

FILTERS = {
    "kubernetes": _keys(
        "name match match_regex alias log_level buffer_size kube_url kube_ca_file kube_ca_path kube_token_file "
        "kube_tag_prefix merge_log merge_log_key merge_log_trim merge_parser keep_log tls.debug tls.verify "
        "tls.verify_hostname use_journal cache_use_docker_id regex_parser k8s-logging.parser k8s-logging.exclude "
        "labels annotations kube_meta_preload_cache_dir dummy_meta dns_retries dns_wait_time use_kubelet "
        "use_tag_for_meta kubelet_port kubelet_host kube_meta_cache_ttl kube_token_ttl kube_token_command "
        "kube_meta_namespace_cache_ttl namespace_labels namespace_annotations namespace_metadata_only "
        "owner_references"
    )
}

OUTPUTS = {
    "forward": FORWARD_KEYS,
    "file": _keys(
        "name match match_regex alias log_level retry_limit workers storage.total_limit_size path file format mkdir "
        "line_append delimiter label_delimiter template"
    ),
}
