module logllm/{{name}}

go 1.24
