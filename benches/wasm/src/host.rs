//! A proxy for one VM: the host calls that the module makes, over plain state.

use std::collections::HashMap;

use anyhow::{Context as _, Result, anyhow, ensure};
use graylane_benches::story::Story;
use wasmtime::{AsContextMut, Caller, Config, Engine, Extern, Instance, Linker, Memory, Module, Store};

/// Status codes of proxy-wasm ABI 0.2.1.
const OK: i32 = 0;
const NOT_FOUND: i32 = 1;
const INVALID_MEMORY: i32 = 6;

/// More than any run burns; fuel is counted, not limited.
const FUEL: u64 = u64::MAX / 2;

/// One VM with one plugin.
pub struct Vm {
    store: Store<State>,
    instance: Instance,
    memory: Memory,
    root: i32,
    next: i32,
}

/// What the host knows.
#[derive(Default)]
struct State {
    configuration: Vec<u8>,
    headers: Vec<u8>,
    properties: HashMap<Vec<u8>, Vec<u8>>,
    shared: HashMap<Vec<u8>, (Vec<u8>, u32)>,
    metrics: Vec<Vec<u8>>,
    now_ns: u64,
}

type Call<'c> = Caller<'c, State>;

// === impl Vm ===

impl Vm {
    /// A VM with the document of a story in force.
    ///
    /// # Errors
    /// When the module does not load, or refuses the document.
    pub fn start(code: &[u8], story: &Story) -> Result<Self> {
        let engine = Engine::new(Config::new().consume_fuel(true)).map_err(plain)?;
        let module = Module::new(&engine, code).map_err(plain)?;
        let mut linker = Linker::new(&engine);
        calls_that_read(&mut linker)?;
        calls_that_write(&mut linker)?;
        calls_of_the_system(&mut linker)?;
        linker.define_unknown_imports_as_traps(&module).map_err(plain)?;
        let mut store = Store::new(&engine, State::of(story));
        store.set_fuel(FUEL).map_err(plain)?;
        let instance = linker.instantiate(&mut store, &module).map_err(plain)?;
        let memory = instance.get_memory(&mut store, "memory").context("the module exports no memory")?;
        let mut vm = Self { store, instance, memory, root: 0, next: 1 };
        vm.call("_initialize", &[])?;
        vm.configure()?;
        Ok(vm)
    }

    /// One whole request of the story.
    ///
    /// # Errors
    /// When the module traps.
    pub fn request(&mut self) -> Result<()> {
        self.store.data_mut().now_ns += 1_000_000;
        let id = self.fresh();
        self.call("proxy_on_context_create", &[id, self.root])?;
        self.call("proxy_on_request_headers", &[id, 16, 1])?;
        self.call("proxy_on_response_headers", &[id, 8, 0])?;
        self.call("proxy_on_done", &[id])?;
        self.call("proxy_on_log", &[id])?;
        self.call("proxy_on_delete", &[id]).map(drop)
    }

    /// The same document again, beside the old one until that is gone: a config update.
    ///
    /// # Errors
    /// When the module traps or refuses the document.
    pub fn reload(&mut self) -> Result<()> {
        let old = self.root;
        self.configure()?;
        self.call("proxy_on_done", &[old])?;
        self.call("proxy_on_delete", &[old]).map(drop)
    }

    /// Fuel burnt since the start.
    ///
    /// # Errors
    /// When fuel is not counted.
    pub fn fuel_used(&self) -> Result<u64> {
        Ok(FUEL - self.store.get_fuel().map_err(plain)?)
    }

    /// Size of the linear memory.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.data_size(&self.store) as u64
    }

    fn configure(&mut self) -> Result<()> {
        self.root = self.fresh();
        let size = self.store.data().configuration.len() as i32;
        self.call("proxy_on_context_create", &[self.root, 0])?;
        self.call("proxy_on_vm_start", &[self.root, 0])?;
        let taken = self.call("proxy_on_configure", &[self.root, size])?;
        ensure!(taken == Some(1), "the module refused the document");
        self.call("proxy_on_tick", &[self.root]).map(drop)
    }

    fn fresh(&mut self) -> i32 {
        self.next += 1;
        self.next
    }

    /// Calls an export; one that the module does not have is passed over, as Envoy does.
    fn call(&mut self, name: &str, arguments: &[i32]) -> Result<Option<i32>> {
        let Some(function) = self.instance.get_func(&mut self.store, name) else { return Ok(None) };
        let arguments: Vec<wasmtime::Val> = arguments.iter().map(|&value| value.into()).collect();
        let mut results = vec![wasmtime::Val::I32(0); function.ty(&self.store).results().len()];
        function
            .call(&mut self.store, &arguments, &mut results)
            .map_err(|error| plain(error).context(name.to_owned()))?;
        Ok(results.first().and_then(wasmtime::Val::i32))
    }
}

// === impl State ===

impl State {
    fn of(story: &Story) -> Self {
        let pairs = story.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Self {
            configuration: story.document.to_string().into_bytes(),
            headers: graylane_benches::operations::encode_pairs(pairs),
            properties: HashMap::from([(b"response\0code".to_vec(), 200_u64.to_le_bytes().to_vec())]),
            now_ns: 1_000_000_000_000,
            ..Self::default()
        }
    }
}

/// wasmtime's errors keep a back trace and their own type; ours are read by people.
fn plain(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

fn calls_that_read(linker: &mut Linker<State>) -> Result<()> {
    let clock = |mut call: Call<'_>, out: i32| {
        let now = call.data().now_ns.to_le_bytes();
        put(&mut call, out, &now)
    };
    linker.func_wrap("env", "proxy_get_current_time_nanoseconds", clock).map_err(plain)?;
    let pairs = |mut call: Call<'_>, _: i32, data: i32, size: i32| {
        let headers = call.data().headers.clone();
        give(&mut call, &headers, data, size)
    };
    linker.func_wrap("env", "proxy_get_header_map_pairs", pairs).map_err(plain)?;
    let buffer = |mut call: Call<'_>, _: i32, _: i32, _: i32, data: i32, size: i32| {
        let configuration = call.data().configuration.clone();
        give(&mut call, &configuration, data, size)
    };
    linker.func_wrap("env", "proxy_get_buffer_bytes", buffer).map_err(plain)?;
    let property = |mut call: Call<'_>, path: i32, len: i32, data: i32, size: i32| {
        let value = text(&mut call, path, len).and_then(|path| call.data().properties.get(&path).cloned());
        value.map_or(NOT_FOUND, |value| give(&mut call, &value, data, size))
    };
    linker.func_wrap("env", "proxy_get_property", property).map_err(plain)?;
    let shared = |mut call: Call<'_>, key: i32, len: i32, data: i32, size: i32, version: i32| {
        let entry = text(&mut call, key, len).and_then(|key| call.data().shared.get(&key).cloned());
        let Some((value, cas)) = entry else { return NOT_FOUND };
        put(&mut call, version, &cas.to_le_bytes());
        give(&mut call, &value, data, size)
    };
    linker.func_wrap("env", "proxy_get_shared_data", shared).map_err(plain)?;
    Ok(())
}

fn calls_that_write(linker: &mut Linker<State>) -> Result<()> {
    let set = |_: Call<'_>, _: i32, _: i32, _: i32, _: i32, _: i32| OK;
    linker.func_wrap("env", "proxy_replace_header_map_value", set).map_err(plain)?;
    linker.func_wrap("env", "proxy_add_header_map_value", set).map_err(plain)?;
    linker
        .func_wrap("env", "proxy_remove_header_map_value", |_: Call<'_>, _: i32, _: i32, _: i32| OK)
        .map_err(plain)?;
    linker.func_wrap("env", "proxy_log", |_: Call<'_>, _: i32, _: i32, _: i32| OK).map_err(plain)?;
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |_: Call<'_>, _: i32| OK).map_err(plain)?;
    linker.func_wrap("env", "proxy_increment_metric", |_: Call<'_>, _: i32, _: i64| OK).map_err(plain)?;
    linker.func_wrap("env", "proxy_record_metric", |_: Call<'_>, _: i32, _: i64| OK).map_err(plain)?;
    let define = |mut call: Call<'_>, _: i32, name: i32, len: i32, out: i32| {
        let Some(name) = text(&mut call, name, len) else { return INVALID_MEMORY };
        let metrics = &mut call.data_mut().metrics;
        metrics.push(name);
        let id = metrics.len() as u32;
        put(&mut call, out, &id.to_le_bytes())
    };
    linker.func_wrap("env", "proxy_define_metric", define).map_err(plain)?;
    let share = |mut call: Call<'_>, key: i32, key_len: i32, value: i32, len: i32, _: i32| {
        let (Some(key), Some(value)) = (text(&mut call, key, key_len), text(&mut call, value, len)) else {
            return INVALID_MEMORY;
        };
        let entry = call.data_mut().shared.entry(key).or_default();
        *entry = (value, entry.1 + 1);
        OK
    };
    linker.func_wrap("env", "proxy_set_shared_data", share).map_err(plain)?;
    Ok(())
}

fn calls_of_the_system(linker: &mut Linker<State>) -> Result<()> {
    let from = "wasi_snapshot_preview1";
    // The same bytes every time: fuel must not depend on chance.
    let random = |mut call: Call<'_>, out: i32, len: i32| put(&mut call, out, &vec![0x5a; len as usize]);
    linker.func_wrap(from, "random_get", random).map_err(plain)?;
    let sizes = |mut call: Call<'_>, count: i32, size: i32| {
        put(&mut call, count, &[0; 4]);
        put(&mut call, size, &[0; 4])
    };
    linker.func_wrap(from, "environ_sizes_get", sizes).map_err(plain)?;
    linker.func_wrap(from, "environ_get", |_: Call<'_>, _: i32, _: i32| OK).map_err(plain)?;
    Ok(())
}

/// Hands bytes over as hosts do: the module allocates, the host fills and tells where.
fn give(call: &mut Call<'_>, bytes: &[u8], data: i32, size: i32) -> i32 {
    let Some(Extern::Func(allocate)) = call.get_export("proxy_on_memory_allocate") else { return INVALID_MEMORY };
    let Ok(allocate) = allocate.typed::<i32, i32>(&mut *call) else { return INVALID_MEMORY };
    let Ok(at) = allocate.call(call.as_context_mut(), bytes.len() as i32) else { return INVALID_MEMORY };
    put(call, at, bytes);
    put(call, data, &at.to_le_bytes());
    put(call, size, &(bytes.len() as u32).to_le_bytes())
}

fn put(call: &mut Call<'_>, at: i32, bytes: &[u8]) -> i32 {
    let Some(Extern::Memory(memory)) = call.get_export("memory") else { return INVALID_MEMORY };
    memory.write(call.as_context_mut(), at as u32 as usize, bytes).map_or(INVALID_MEMORY, |()| OK)
}

fn text(call: &mut Call<'_>, at: i32, len: i32) -> Option<Vec<u8>> {
    let memory = call.get_export("memory").and_then(Extern::into_memory)?;
    let at = at as u32 as usize;
    Some(memory.data(&*call).get(at..at + len as u32 as usize)?.to_vec())
}
